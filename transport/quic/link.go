package quic

import (
	"context"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// link is one QUIC connection and the number of its streams in use.
//
//	          take               give, the last            UnusedTimeout
//	[unused] ──────► [in use] ──────────────► [unused] ───────────────────► [over]
//	   │                │ retire                                              ▲  ▲
//	   │ retire         └──────► [retired] ─── give, the last ────────────────┘  │
//	   └─────────────────────────────────────────────────────────────────────────┘
//
// From every state the connection's own end (the peer's doing, or its silence) leads to over.
type link struct {
	qc            *quicgo.Conn
	unusedTimeout time.Duration
	ended         func(*link) // called once, when the connection is over

	mu          sync.Mutex
	streamCount int
	retired     bool // takes no new streams, ends with the last one
	unused      *time.Timer
	keepAlive   *time.Timer // nil where the peer does it
	lastUsed    time.Time   // when the last stream was closed; zero if there was none

	end sync.Once
}

// newLink keeps the connection alive if the period is not zero.
func newLink(qc *quicgo.Conn, unusedTimeout, keepAlivePeriod time.Duration, ended func(*link)) *link {
	l := &link{qc: qc, unusedTimeout: unusedTimeout, ended: ended}
	l.mu.Lock()
	l.unused = time.AfterFunc(unusedTimeout, l.expire)
	if keepAlivePeriod > 0 {
		l.startKeepAlive(keepAlivePeriod)
	}
	l.mu.Unlock()
	context.AfterFunc(qc.Context(), func() { l.finish(connectionClosed) })
	return l
}

// take counts a stream in. It reports false when the link takes no more.
func (l *link) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired || l.qc.Context().Err() != nil {
		return false
	}
	l.streamCount++
	l.unused.Stop()
	return true
}

// give counts a stream out.
func (l *link) give() {
	l.mu.Lock()
	l.streamCount--
	l.lastUsed = time.Now()
	last := l.streamCount == 0
	over := last && l.retired
	if last && !over {
		l.unused.Reset(l.unusedTimeout)
	}
	l.mu.Unlock()
	if over {
		l.finish(connectionClosed)
	}
}

// retire ends the link now if no stream is in use, otherwise with the last one.
func (l *link) retire() {
	l.mu.Lock()
	l.retired = true
	over := l.streamCount == 0
	l.mu.Unlock()
	if over {
		l.finish(connectionClosed)
	}
}

// expire ends a link that was not used for long.
func (l *link) expire() {
	l.mu.Lock()
	over := l.streamCount == 0
	l.retired = l.retired || over
	l.mu.Unlock()
	if over {
		l.finish(connectionUnused)
	}
}

// finish closes the QUIC connection, once; later callers wait for the first.
func (l *link) finish(code quicgo.ApplicationErrorCode) {
	l.end.Do(func() {
		l.mu.Lock()
		l.retired = true
		l.unused.Stop()
		used := !l.lastUsed.IsZero() && time.Since(l.lastUsed) < drainMax
		l.mu.Unlock()
		if used {
			l.drain()
		}
		_ = l.qc.CloseWithError(code, "")
		if l.keepAlive != nil {
			l.mu.Lock() // the timer is set again under the lock, and not once the connection is over
			l.keepAlive.Stop()
			l.mu.Unlock()
		}
		l.ended(l)
	})
}

// keepAliveBytes makes a keep-alive larger than a stateless reset (42 bytes with this library), which
// must be smaller than the packet it answers (RFC 9000 §10.3).
const keepAliveBytes = 40

// startKeepAlive sends the peer a datagram, which it ignores, whenever nothing was received for a
// period. The library's own keep-alive is a packet too small to be answered by a stateless reset,
// and is not sent again but repeated at doubling intervals: a client that only waits would learn
// of a restarted broker by the idle timeout. The caller holds l.mu.
func (l *link) startKeepAlive(period time.Duration) {
	received := l.qc.ConnectionStats().PacketsReceived
	l.keepAlive = time.AfterFunc(period, func() {
		now := l.qc.ConnectionStats().PacketsReceived
		if now == received {
			_ = l.qc.SendDatagram(make([]byte, keepAliveBytes))
		}
		received = now
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.qc.Context().Err() == nil {
			l.keepAlive.Reset(period)
		}
	})
}

// drainMax bounds how long a connection stays for its last bytes' sake.
const drainMax = time.Second

// drain waits until the last bytes written have most likely arrived. Closing a QUIC connection
// discards what was not sent yet and stops repeating what was lost, and the library does not say
// what was acknowledged. So: nothing was sent and nothing received for longer than a lost packet
// takes to be repeated.
func (l *link) drain() {
	const step = 5 * time.Millisecond
	began := time.Now()
	last, since := l.qc.ConnectionStats(), began
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-l.qc.Context().Done():
			return
		case <-tick.C:
		}
		now, stats := time.Now(), l.qc.ConnectionStats()
		if stats.PacketsSent != last.PacketsSent || stats.PacketsReceived != last.PacketsReceived {
			last, since = stats, now
		}
		// RFC 9002 §6.2.1: the probe timeout, with the customary 25 ms for a delayed acknowledgement.
		probe := stats.SmoothedRTT + max(4*stats.MeanDeviation, time.Millisecond) + 25*time.Millisecond
		if now.Sub(since) > probe+step || now.Sub(began) > drainMax {
			return
		}
	}
}
