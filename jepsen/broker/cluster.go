package broker

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Cluster is several processes of `weir node` that are one cluster. Nodes count from 1.
type Cluster struct {
	binary string
	dir    string
	kafka  []string // by node
	nodes  []*Broker
	logs   []*os.File
}

// ClusterOptions say what cluster to run.
type ClusterOptions struct {
	Binary     string
	Dir        string // an existing directory for configurations, data and logs
	Nodes      int
	Transport  string // between nodes: tcp or quic
	Properties map[string]string
}

// NewCluster writes the configurations of a cluster that was never started.
func NewCluster(o ClusterOptions) (*Cluster, error) {
	c := &Cluster{binary: o.Binary, dir: o.Dir, nodes: make([]*Broker, o.Nodes)}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	var voters, between []string
	for n := 1; n <= o.Nodes; n++ {
		kafka, err := FreeAddr()
		if err != nil {
			return nil, err
		}
		addr, err := FreeAddr()
		if err != nil {
			return nil, err
		}
		c.kafka, between = append(c.kafka, kafka), append(between, addr)
		voters = append(voters, fmt.Sprintf("%d@%s", n, addr))
	}
	for n := 1; n <= o.Nodes; n++ {
		lines := []string{
			fmt.Sprintf("node.id=%d", n), "cluster.id=" + base64.RawURLEncoding.EncodeToString(id[:]),
			"log.dirs=" + filepath.Join(o.Dir, fmt.Sprintf("data-%d", n)), "listeners=" + c.kafka[n-1], "http.listener=",
			"nodes.listener=" + between[n-1], "nodes.transport=" + o.Transport, "controller.quorum.voters=" + strings.Join(voters, ","),
		}
		for name, value := range o.Properties {
			lines = append(lines, name+"="+value)
		}
		if err := os.WriteFile(c.config(n), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			return nil, err
		}
		log, err := os.Create(filepath.Join(o.Dir, fmt.Sprintf("node-%d.log", n)))
		if err != nil {
			return nil, err
		}
		c.logs = append(c.logs, log)
	}
	return c, nil
}

func (c *Cluster) config(node int) string {
	return filepath.Join(c.dir, fmt.Sprintf("node-%d.properties", node))
}

// Kafka are the addresses that clients bootstrap from.
func (c *Cluster) Kafka() []string { return c.kafka }

// Start starts a node's process. It does not wait until it is ready.
func (c *Cluster) Start(node int) error {
	log := c.logs[node-1]
	b, err := Start(Options{Binary: c.binary, Config: c.config(node), Line: func(line []byte) {
		// A log that cannot be written must not stop the process whose log it is.
		_, _ = log.Write(append(line[:len(line):len(line)], '\n'))
	}})
	c.nodes[node-1] = b
	return err
}

// StartAll starts every node and waits until all are ready.
func (c *Cluster) StartAll(patience time.Duration) error {
	for n := range c.nodes {
		if err := c.Start(n + 1); err != nil {
			return err
		}
	}
	for n := range c.nodes {
		if err := c.nodes[n].Ready(patience); err != nil {
			return fmt.Errorf("node %d: %w", n+1, err)
		}
	}
	return nil
}

// Node is a node's process, as it was started last.
func (c *Cluster) Node(node int) *Broker { return c.nodes[node-1] }

// Close kills what still runs.
func (c *Cluster) Close() error {
	var errs []error
	for _, b := range c.nodes {
		if b != nil && b.Running() {
			errs = append(errs, b.Kill())
		}
	}
	for _, log := range c.logs {
		errs = append(errs, log.Close())
	}
	return errors.Join(errs...)
}
