package node

import (
	"fmt"

	"github.com/weirmq/weir/node/explain"
)

// stranger is what somebody speaks who does not speak Kafka's protocol, and what there is to say about it.
type stranger struct {
	code   explain.Code
	reason string // empty: the bytes may be Kafka's, or nobody knows whose
	fix    string
	answer string // for the other side to read; most get none
}

// sniff recognises protocols by the first four bytes of a connection, where Kafka has the length of a request.
// Text read as a length is more than half a gigabyte, so none of these can be a request.
func (n *Node) sniff(prefix []byte) stranger {
	switch {
	case prefix[0] == 0x16 && prefix[1] == 0x03:
		return stranger{
			code: explain.WrongProtocolTLS, reason: "the client speaks TLS, and this listener is plain",
			fix: "turn TLS off at the client (security.protocol=PLAINTEXT), or on here (listeners=SSL://..., ssl.certificate.file, ssl.key.file)",
		}
	case isHTTP(prefix):
		s := stranger{code: explain.WrongProtocolHTTP, reason: "the client speaks HTTP, and this port speaks Kafka's protocol", fix: "use a Kafka client"}
		if http := n.HTTPAddr(); http != "" {
			s.fix += "; health and metrics are on http://" + http
		}
		body := s.reason + ": " + s.fix + "\n"
		s.answer = fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
			"Connection: close\r\n\r\n%s", len(body), body)
		return s
	}
	for _, k := range known {
		if string(prefix) == k.prefix {
			return stranger{code: explain.WrongProtocolOther, reason: "the client speaks " + k.name + ", and this port speaks Kafka's protocol", fix: "connect it to the port of what it looks for"}
		}
	}
	text := true
	for _, b := range prefix {
		text = text && (b >= ' ' && b <= '~' || b == '\r' || b == '\n' || b == '\t')
	}
	if text {
		return stranger{code: explain.WrongProtocolOther, reason: fmt.Sprintf("it begins with the text %q, which is no Kafka request", prefix), fix: "use a Kafka client"}
	}
	return stranger{}
}

// known are protocols that begin with a text of their own.
var known = []struct{ prefix, name string }{
	{"SSH-", "SSH"},
	{"AMQP", "AMQP"},
	{"CONN", "HTTP (as to a proxy) or NATS"},
	{"INFO", "NATS"},
	{"*1\r\n", "Redis"},
	{"*2\r\n", "Redis"},
	{"*3\r\n", "Redis"},
}

func isHTTP(prefix []byte) bool {
	switch string(prefix) {
	case "GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PATC", "TRAC", "PRI ":
		return true
	}
	return false
}
