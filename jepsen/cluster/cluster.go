package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/transport/certificate"
)

// Options say how to run the nodes.
type Options struct {
	Binary    string
	Dir       string // of configurations, logs and data; made if it is not there
	ClusterID string
	Nodes     int    // all of them vote
	Listen    string // HOST:PORT of the first node for clients, the others' are the next ones; port 0: any
	HTTP      string // the same of health and metrics; empty: none
	// Transport, if set, is what the nodes reach each other by (nodes.transport), without a Network between them. For quic and
	// tls a certificate is made that all nodes show and trust.
	Transport string
	// Set are further properties of every node, as NAME=VALUE.
	Set []string
	// Line, if set, is given every line that a node logs, beside the file.
	Line func(node int, line []byte)
}

// Cluster is some nodes and the network between them.
type Cluster struct {
	Network *Network
	Nodes   []*Node // by id, from 1 on: Nodes[0] is node 1
}

// Node is one node: a process, or none at the moment.
type Node struct {
	ID    int
	Kafka string // the address for clients
	HTTP  string // empty: none

	binary, config string
	line           func([]byte)
	log            *os.File

	mu     sync.Mutex
	broker *broker.Broker // nil: none was started
	closed bool           // none is started any more
}

// New prepares a cluster. Start its nodes.
func New(o Options) (*Cluster, error) {
	c := &Cluster{Network: newNetwork()}
	inner := make([]string, o.Nodes)
	var voters []string
	for i := range o.Nodes {
		var err error
		if inner[i], err = broker.FreeAddr(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		outer := inner[i]
		if o.Transport == "" {
			var err error
			if outer, err = c.Network.expose(i+1, inner[i]); err != nil {
				return nil, errors.Join(err, c.Close())
			}
		}
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, outer))
	}
	if o.Transport == "quic" || o.Transport == "tls" {
		settings, err := trust(o)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		o.Set = append(settings, o.Set...)
	}
	for i := range o.Nodes {
		n, err := newNode(o, i+1, inner[i], strings.Join(voters, ","))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c, nil
}

// trust makes a certificate for all nodes, and says what they are told of it.
func trust(o Options) ([]string, error) {
	dir := filepath.Join(o.Dir, "tls")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	authority, err := certificate.NewAuthority(dir, "weir test cluster")
	if err != nil {
		return nil, err
	}
	if _, err := authority.Issue("nodes", "127.0.0.1", "localhost"); err != nil {
		return nil, err
	}
	return []string{
		"ssl.certificate.file=" + filepath.Join(dir, "nodes.pem"), "ssl.key.file=" + filepath.Join(dir, "nodes.key"),
		"ssl.truststore.location=" + filepath.Join(dir, certificate.AuthorityName),
	}, nil
}

func newNode(o Options, id int, inner, voters string) (*Node, error) {
	n := &Node{ID: id, binary: o.Binary, config: filepath.Join(o.Dir, fmt.Sprintf("node-%d.properties", id))}
	var err error
	if n.Kafka, err = addressOf(o.Listen, id); err != nil {
		return nil, err
	}
	if o.HTTP != "" {
		if n.HTTP, err = addressOf(o.HTTP, id); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	lines := append([]string{
		"node.id=" + strconv.Itoa(id), "cluster.id=" + o.ClusterID, "log.dirs=" + filepath.Join(o.Dir, strconv.Itoa(id)),
		"listeners=" + n.Kafka, "http.listener=" + n.HTTP,
		"nodes.listener=" + inner, "controller.quorum.voters=" + voters,
	}, o.Set...)
	if o.Transport != "" {
		lines = append(lines, "nodes.transport="+o.Transport)
	} else {
		lines = append(lines, "# The others reach this node through a proxy, which is what the voters' addresses are.", "nodes.transport=tcp")
	}
	if err := os.WriteFile(n.config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	if n.log, err = os.OpenFile(filepath.Join(o.Dir, fmt.Sprintf("node-%d.log", id)), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	n.line = func(line []byte) {
		_, _ = n.log.Write(append(append([]byte{}, line...), '\n')) // for people, if anything else goes wrong
		if o.Line != nil {
			o.Line(id, line)
		}
	}
	return n, nil
}

// addressOf is the address of a node, given that of the first.
func addressOf(first string, id int) (string, error) {
	host, port, err := net.SplitHostPort(first)
	if err != nil {
		return "", err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", err
	}
	if number != 0 {
		return net.JoinHostPort(host, strconv.Itoa(int(number)+id-1)), nil
	}
	free, err := broker.FreeAddr() // it is the node's across all of its processes, so it cannot be the system's choice
	if err != nil {
		return "", err
	}
	_, port, err = net.SplitHostPort(free)
	return net.JoinHostPort(host, port), err
}

// Start starts all nodes, and waits until all are ready.
func (c *Cluster) Start(patience time.Duration) error {
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	ready := make(chan error, len(c.Nodes))
	for _, n := range c.Nodes {
		go func() {
			err := n.Ready(patience)
			if err != nil {
				err = fmt.Errorf("node %d: %w", n.ID, err)
			}
			ready <- err
		}()
	}
	for range c.Nodes {
		// The first that fails says more than those that wait for it in vain.
		if err := <-ready; err != nil {
			return err
		}
	}
	return nil
}

// Brokers are the addresses for clients.
func (c *Cluster) Brokers() []string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.Kafka)
	}
	return all
}

// Isolate cuts a node off from all others: what it sends, what it is sent, or both.
func (c *Cluster) Isolate(node int, sends, hears bool) {
	for _, other := range c.Nodes {
		if other.ID == node {
			continue
		}
		if sends {
			c.Network.Cut(node, other.ID)
		}
		if hears {
			c.Network.Cut(other.ID, node)
		}
	}
}

// Close kills what runs, and ends the network. A Start that is under way starts nothing more: nobody would end it.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.close())
	}
	c.Network.close()
	return errors.Join(errs...)
}

// Start starts the node's process. It does not wait until the node is ready.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fmt.Errorf("node %d: %w", n.ID, ErrClosed)
	}
	b, err := broker.Start(broker.Options{Binary: n.binary, Config: n.config, Line: n.line, OwnGroup: true})
	if err != nil {
		return err
	}
	n.broker = b
	return nil
}

// ErrClosed says that the cluster was closed.
var ErrClosed = errors.New("the cluster is closed")

// close kills the node's process, if it lives, and sees to it that no other is started.
func (n *Node) close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	var err error
	if n.Running() {
		err = n.Kill()
	}
	return errors.Join(err, n.log.Close())
}

func (n *Node) process() *broker.Broker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.broker
}

// Ready waits until the node says that it is.
func (n *Node) Ready(patience time.Duration) error { return n.process().Ready(patience) }

// Kill ends the node as kill -9 does.
func (n *Node) Kill() error { return n.process().Kill() }

// Stop asks the node to end, and wants exit code 0.
func (n *Node) Stop(patience time.Duration) error { return n.process().Stop(patience) }

// Pause stops the node where it is, with its connections open.
func (n *Node) Pause() error { return n.process().Pause() }

// Resume lets it go on.
func (n *Node) Resume() error { return n.process().Resume() }

// Running reports whether the node's process lives.
func (n *Node) Running() bool {
	b := n.process()
	return b != nil && b.Running()
}

// PID is the number of the node's process.
func (n *Node) PID() int { return n.process().PID() }

// Log is the end of what the node's last process logged.
func (n *Node) Log() string { return n.process().Log() }
