package clients_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
)

// served is a clienttest.Cluster behind memory connections. It can be used in a synctest bubble.
type served struct {
	*clienttest.Cluster
	network *memory.Network
	mu      sync.Mutex
	conns   map[transport.Conn]model.NodeID
	cut     func(model.NodeID) bool // decides before an answer is written
	wait    sync.WaitGroup
	stop    context.CancelFunc
}

func serve(t testing.TB, brokers int) *served {
	s := &served{Cluster: clienttest.New(brokers), network: memory.New(), conns: make(map[transport.Conn]model.NodeID)}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, id := range s.Brokers {
		l, err := s.network.Listen(s.Addr(id))
		if err != nil {
			t.Fatal(err)
		}
		s.wait.Add(1)
		go func() {
			defer s.wait.Done()
			defer l.Close()
			for {
				k, err := l.Accept(ctx)
				if err != nil {
					return
				}
				s.mu.Lock()
				s.conns[k] = id
				s.mu.Unlock()
				s.wait.Add(1)
				go func() {
					defer s.wait.Done()
					s.talk(ctx, k, id)
				}()
			}
		}()
	}
	t.Cleanup(s.close)
	return s
}

func (s *served) close() {
	s.stop()
	s.drop(0)
	s.wait.Wait()
}

// drop closes all connections to a broker, or to all of them when it is 0.
func (s *served) drop(id model.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, at := range s.conns {
		if id == 0 || at == id {
			_ = k.Close()
			delete(s.conns, k)
		}
	}
}

func (s *served) talk(ctx context.Context, k transport.Conn, id model.NodeID) {
	defer k.Close()
	for {
		var prefix [4]byte
		if _, err := io.ReadFull(k, prefix[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(prefix[:]))
		if _, err := io.ReadFull(k, frame); err != nil {
			return
		}
		var answer []byte
		for left := time.Duration(-1); ; left -= 5 * time.Millisecond {
			s.mu.Lock()
			a, empty, waitMs := s.Handle(id, frame)
			s.mu.Unlock()
			if left == -1 {
				left = time.Duration(waitMs) * time.Millisecond
			}
			if answer = a; !empty || left <= 0 {
				break
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
		if answer == nil {
			continue
		}
		s.mu.Lock()
		cut := s.cut != nil && s.cut(id)
		s.mu.Unlock()
		if cut {
			return
		}
		if _, err := k.Write(answer); err != nil {
			return
		}
	}
}

// client describes the cluster for clients.
func (s *served) client(t testing.TB, options ...client.Option) *client.Client {
	c, err := client.New([]string{s.Addr(1)}, append([]client.Option{client.WithDialer(s.network)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// with changes the cluster while it is served.
func (s *served) with(f func(c *clienttest.Cluster)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.Cluster)
}

func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, client.ErrClosed)
}
