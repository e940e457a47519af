// Package session is one client connection's machine: it takes whole request frames, checks them down to
// the records, turns them into broker events, and turns the broker's answers into response frames in the
// order of the requests.
//
//	frame ──► header, version ──► decode ──► check ──► broker event          (file per API key)
//	                                                       │
//	response frame ◄── in request order ◄── encode ◄── answer
//
// Everything costly about a request (decoding, CRC, decompression, walking records) happens here, on the
// connection's own time, so that the broker's loop only ever sees headers. So is the answering of what only asks
// how things are (Metadata, DescribeTopicPartitions, DescribeConfigs, DescribeCluster, ListConfigResources): it
// is answered from what the broker has published, and only topics that are to be created go to the loop.
//
// Inputs: See for what is published; Receive for a frame; Produced, Fetched and Replied for answers. Output: Out.
//
// Invariants:
//
//  1. Responses leave in the order in which their requests arrived, whatever order the answers come in.
//  2. Every request is answered once, except Produce with acks=0, which is never answered.
//  3. A key has a row in the table of apis.go or it is not served: the row gives its versions, the
//     authorisation it needs and its handler.
//  4. Bytes that cannot be understood close the connection with a reason; they never reach the broker.
//  5. A frame with records is handed back for reuse only when all of its batches are durable.
//
// Deliberately absent: sockets, buffers and time-outs (node), rules about topics and logs (broker), SASL
// (every peer is trusted for now; the authorisation column of the table is where it will be asked).
package session
