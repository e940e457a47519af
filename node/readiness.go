package node

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/node/explain"
)

// heard remembers what last became of calls to each of the other nodes, for people who ask why nothing happens.
type heard struct {
	mu     sync.Mutex
	failed map[model.NodeID]string // why the last call failed; a node that answered is not in it
}

func (h *heard) answer(a *effect.Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Failure == effect.CallOK {
		delete(h.failed, a.From)
		return
	}
	if h.failed == nil {
		h.failed = map[model.NodeID]string{}
	}
	h.failed[a.From] = a.Detail
}

func (h *heard) why(node int32) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	why, failed := h.failed[model.NodeID(node)]
	return why, failed
}

func (n *Node) isReady() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// tellWaiting logs for what a node waits that is not ready after a moment, and again when that has changed.
func (n *Node) tellWaiting() {
	const patience, again = 2 * time.Second, 5 * time.Second
	begin, told := time.Now(), ""
	look := time.NewTimer(patience)
	defer look.Stop()
	for {
		select {
		case <-n.ready:
			if told != "" {
				n.log.Info("ready: nothing is waited for any more", zap.Duration("took", time.Since(begin)))
			}
			return
		case <-n.idle:
			return
		case <-n.failed:
			return
		case <-look.C:
			look.Reset(again)
			if on, fix := n.Waiting(); on != told && on != "" {
				told = on
				n.log.Warn("not ready yet", zap.String("code", string(explain.NotReady)), zap.String("waiting_for", on), zap.String("fix", fix))
			}
		}
	}
}

// Waiting says what a node that is not ready waits for, and what to do about it if it stays so; both are empty once it is
// ready.
func (n *Node) Waiting() (on, fix string) {
	if n.isReady() {
		return "", ""
	}
	if !n.recovered.Load() {
		return "the data to be recovered", "it takes as long as reading the journal does: at most some times checkpoint.bytes"
	}
	var s broker.Standing
	const patience = 500 * time.Millisecond
	if !n.loop.look(func(b *broker.Broker) { s = b.Standing() }, patience) {
		return "its own loop, which has much to do", "look again in a moment"
	}
	var silent []string
	voters := n.config.Cluster.Voters
	for _, v := range voters {
		why, failed := n.heard.why(v.Node)
		if v.Node == n.config.NodeID || !failed {
			continue
		}
		address := net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))
		if why == "" {
			why = "no answer"
		}
		silent = append(silent, fmt.Sprintf("node %d at %s (%s)", v.Node, address, why))
	}
	switch {
	case s.Refused != "":
		return "the controller, which does not take this node: " + s.Refused,
			"give each node a node.id and a data directory of its own, and all of them the same cluster.id; a node that was just killed is taken again after broker.session.timeout.ms"
	case len(silent) > 0:
		all := ""
		if s.Unfounded {
			all = fmt.Sprintf("a new cluster is founded by node %d when it has reached all of its voters once; ", voters[0].Node)
		}
		return strings.Join(silent, ", "), all + fmt.Sprintf("a majority, %d of %d, is needed: start them; if they run, compare controller.quorum.voters with their nodes.listener, nodes.transport, and what each log says; over QUIC and TLS they must trust each other (ssl.truststore.location)",
			len(voters)/2+1, len(voters))
	case s.Unfounded && voters[0].Node != n.config.NodeID:
		return fmt.Sprintf("node %d, which founds the cluster when it has reached all of its voters once", voters[0].Node),
			"start it, and look at what its own log waits for; this node must be reachable from there at its nodes.listener"
	case !s.HasController:
		return "a controller to be elected", fmt.Sprintf("a majority of the voters, %d of %d, must run and reach each other", len(voters)/2+1, len(voters))
	case !s.Registered:
		return fmt.Sprintf("the controller, node %d, to take this node in", s.Controller), "look at that node's log"
	}
	return "the metadata of the cluster to arrive", fmt.Sprintf("look at the log of the controller, node %d", s.Controller)
}
