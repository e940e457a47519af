// Package transporttest checks that an implementation of transport keeps what the interface
// promises, and measures it. One suite, one set of benchmarks, run over all of them.
//
// It is public so that a transport of somebody else's can be held to the same contract:
//
//	func TestTransport(t *testing.T) {
//		transporttest.Run(t, func(tb testing.TB) (transport.Listener, transport.Dialer) { ... })
//	}
//
// Nothing here asserts on time in units smaller than seconds: a test fails because something did
// not happen at all.
package transporttest

import (
	"runtime"
	"testing"

	"github.com/weirmq/weir/transport"
)

// Factory makes a listener on a free address and a dialer that can reach it. The suite closes the
// listener, and the dialer if it is an io.Closer.
type Factory func(tb testing.TB) (transport.Listener, transport.Dialer)

// Run runs the suite.
func Run(t *testing.T, make Factory) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, e *env)
	}{
		{"EchoOfRandomSizes", testEcho},
		{"BothDirectionsStreamAtOnce", testBothDirections},
		{"HalfMessagesArriveAsTheyAreWritten", testHalfMessages},
		{"ManyConnectionsAtOnce", testManyConnections},
		{"PeerReadsEverythingThenEOF", testGracefulClose},
		{"WriterLearnsThatThePeerClosed", testWriteAfterPeerClosed},
		{"CloseUnblocksRead", testCloseUnblocksRead},
		{"CloseUnblocksWrite", testCloseUnblocksWrite},
		{"CloseTwiceAndConcurrently", testCloseTwice},
		{"CloseUnblocksAccept", testCloseUnblocksAccept},
		{"AcceptHonoursItsContext", testAcceptContext},
		{"DialHonoursItsContext", testDialContext},
		{"DialToNobodyFails", testDialToNobody},
		{"ConnectionsOutliveTheListener", testConnectionsOutliveListener},
		{"UnacceptedConnectionsAreDropped", testUnacceptedDropped},
		{"ReadDeadlineFiresAndCanBeReset", testReadDeadline},
		{"DeadlineMovesUnderABlockedRead", testMovingDeadline},
		{"WriteDeadlineFires", testWriteDeadline},
		{"WriteBuffersKeepsOrder", testWriteBuffers},
		{"WriteBuffersToAClosedPeerFails", testWriteBuffersClosed},
		{"ConcurrentWritesDoNotInterleave", testConcurrentWrites},
		{"ReaderThatNeverReadsBlocksTheWriter", testBackPressure},
		{"SendFileSendsTheRunAsked", testSendFile},
		{"NamesAndAddresses", testNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			// Checked last: cleanups run in reverse order.
			t.Cleanup(func() { goroutinesGone(t, before) })
			l, d := make(t)
			e := &env{t: t, listener: l, dialer: d}
			t.Cleanup(e.close)
			test.run(t, e)
		})
	}
}
