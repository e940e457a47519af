package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// tap stands between clients and the broker, which advertises the tap's address, and notes which request of
// which version each client sends. It changes no byte. Clients are told apart by the client id in the header
// of their requests.
type tap struct {
	listener net.Listener
	broker   string
	trace    bool

	mu   sync.Mutex
	seen map[string]map[apiVersion]int // by client id
}

type apiVersion struct{ key, version int16 }

// newTap listens on a free port. Nothing passes until serve is called.
func newTap() (*tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &tap{listener: l, trace: os.Getenv("INTEROP_TRACE") != "", seen: map[string]map[apiVersion]int{}}, nil
}

func (t *tap) addr() string { return t.listener.Addr().String() }

// serve passes connections on to the broker until the tap is closed.
func (t *tap) serve(broker string) {
	t.broker = broker
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		go t.pass(conn)
	}
}

func (t *tap) close() error { return t.listener.Close() }

func (t *tap) pass(client net.Conn) {
	broker, err := net.Dial("tcp", t.broker)
	if err != nil {
		fmt.Printf("the broker cannot be reached for a client: %v\n", err)
		_ = client.Close()
		return
	}
	// Whichever side ends first ends both: what was under way on the other has nobody to go to.
	end := sync.OnceFunc(func() { _ = client.Close(); _ = broker.Close() })
	go func() {
		defer end()
		_, _ = io.Copy(client, broker)
	}()
	defer end()
	in := bufio.NewReaderSize(client, 64<<10)
	for {
		if err := t.passRequest(broker, in); err != nil {
			return
		}
	}
}

// passRequest copies one frame, and notes its header: key, version, correlation id, client id.
func (t *tap) passRequest(broker io.Writer, in *bufio.Reader) error {
	const fixed = 4 + 2 + 2 + 4 + 2
	head, err := in.Peek(fixed)
	if err != nil {
		if rest := in.Buffered(); rest > 0 {
			_, copied := io.CopyN(broker, in, int64(rest))
			return errors.Join(err, copied)
		}
		return err
	}
	size := int64(binary.BigEndian.Uint32(head))
	api := apiVersion{int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:]))}
	id := ""
	if n := int(int16(binary.BigEndian.Uint16(head[12:]))); n > 0 && n < 1000 && size >= int64(fixed-4+n) {
		if head, err = in.Peek(fixed + n); err != nil {
			return err
		}
		id = string(head[fixed:])
	}
	t.note(id, api, size)
	_, err = io.CopyN(broker, in, 4+size)
	return err
}

func (t *tap) note(id string, api apiVersion, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trace {
		fmt.Fprintf(os.Stderr, "tap: %s sends %s version %d, %d bytes\n", id, keyName(api.key), api.version, size)
	}
	if t.seen[id] == nil {
		t.seen[id] = map[apiVersion]int{}
	}
	t.seen[id][api]++
}

// versions is what the clients whose id begins with prefix sent: for each key the versions, ascending.
func (t *tap) versions(prefix string) map[int16][]int16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[int16][]int16{}
	for _, id := range slices.Sorted(maps.Keys(t.seen)) {
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		for api := range t.seen[id] {
			if !slices.Contains(out[api.key], api.version) {
				out[api.key] = append(out[api.key], api.version)
			}
		}
	}
	for _, versions := range out {
		slices.Sort(versions)
	}
	return out
}
