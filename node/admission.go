package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
)

// hostOf is the address that a connection is counted under: the peer's without its port.
func hostOf(a net.Addr) string {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap().WithZone("").String()
	}
	return a.String()
}

// acceptFrom takes connections in, those of clients as fast as max.connection.creation.rate allows; those that come
// faster wait in the kernel, as with Kafka.
func (n *Node) acceptFrom(ctx context.Context, l transport.Listener, forNodes bool) {
	for {
		if delayed := n.paced(ctx, forNodes); delayed > 0 {
			n.metrics.Delayed.Add(1)
			n.complaints.about(explain.ConnectionRate, l.Addr().String(), fmt.Sprintf("a connection was accepted %v late", delayed.Round(time.Millisecond)), "")
		}
		conn, err := l.Accept(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if conn != nil {
				_ = conn.Close()
			}
			return
		case err != nil:
			n.acceptFailed(l, err)
			continue
		}
		n.metrics.Accepted.Add(1)
		peer := conn.RemoteAddr()
		c, why := n.connections.add(n, conn, peer.String(), hostOf(peer), forNodes)
		if c == nil {
			if why != "" {
				n.metrics.Refused.Add(1)
				n.complaints.about(explain.TooManyConnections, peer.String(), why, "", zap.String("transport", conn.Transport()))
			}
			n.serving.Go(func() { _ = conn.Close() })
			continue
		}
		n.serving.Go(c.serve)
	}
}

func (n *Node) paced(ctx context.Context, forNodes bool) time.Duration {
	if forNodes {
		return 0
	}
	return n.pace.wait(ctx)
}

// acceptFailed tells of a connection that could not be accepted. The listener paces itself.
func (n *Node) acceptFailed(l transport.Listener, err error) {
	n.metrics.AcceptFailed.Add(1)
	n.complaints.about(explain.AcceptFailed, l.Addr().String(), err.Error(), "")
}

// pace lets so many connections in a second, and a second's worth of them at once after a pause.
type pace struct {
	perSecond int

	mu   sync.Mutex
	next time.Time // when the bucket would be full: each connection moves it on
}

// wait waits until another connection may be taken in, and says how long that was.
func (p *pace) wait(ctx context.Context) time.Duration {
	each := time.Second / time.Duration(p.perSecond)
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(each)
	ahead := p.next.Sub(now) - time.Second
	p.mu.Unlock()
	if ahead <= 0 {
		return 0
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ahead
}

// descriptorsKept is what the node needs beside segments and connections: the journal, sockets, pipes of
// the runtime.
const descriptorsKept = 128

// Segments are held open up to openFilesAuto if open.files.max does not say and the limit has room for them, and
// up to openFilesFew if it has not: who writes to more partitions than this opens a file for each batch.
const (
	openFilesAuto = 16 << 10
	openFilesFew  = 1024
	openFilesMin  = 16
)

// fitDescriptors says how many segments are held open, and lowers max.connections if the process may not open so
// many files: clients must not take the descriptors that storage needs. Go's runtime has raised the soft limit to
// the hard one by now.
func (n *Node) fitDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("the limit of open files: %w", err)
	}
	limits, files := &n.config.Limits, &n.config.Storage.OpenFilesMax
	if *files == 0 {
		*files = openFilesFor(limit.Cur, uint64(limits.ConnectionsMax))
	}
	*files = max(*files, openFilesMin)
	kept := uint64(*files) + descriptorsKept
	if n.config.Cluster.Listener != "" {
		kept += min(nodeConnectionsMax, limit.Cur/8)
	}
	want := kept + uint64(limits.ConnectionsMax)
	if limit.Cur >= want {
		return nil
	}
	if limit.Cur < kept+16 {
		return fmt.Errorf("the process may open %d files, and open.files.max=%d alone needs %d: raise the limit (ulimit -n %d, or LimitNOFILE=%d in the systemd unit), or lower open.files.max",
			limit.Cur, *files, kept, want, want)
	}
	n.log.Warn(explain.Of(explain.FewDescriptors).Title, zap.String("code", string(explain.FewDescriptors)),
		zap.Int32("max_connections", limits.ConnectionsMax), zap.Uint64("lowered_to", limit.Cur-kept), zap.Uint64("open_files_limit", limit.Cur),
		zap.String("fix", fmt.Sprintf("ulimit -n %d, or LimitNOFILE=%d in the systemd unit", want, want)))
	limits.ConnectionsMax = int32(limit.Cur - kept)
	return nil
}

// openFilesFor is how many segments are held open by a process that may open so many files and serves so many
// connections.
func openFilesFor(limit, connections uint64) int32 {
	taken := connections + descriptorsKept
	if limit < taken+openFilesFew {
		return openFilesFew
	}
	return int32(min(limit-taken, openFilesAuto))
}
