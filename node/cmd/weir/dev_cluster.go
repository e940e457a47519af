package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/memory"
)

// devNodesMax is how many nodes one process can be.
const devNodesMax = 9

// votersOf is how many of so many nodes vote.
func votersOf(nodes int) int {
	switch {
	case nodes < 3:
		return 1
	case nodes < 5:
		return 3
	}
	return 5
}

// checkDevNodes refuses what cannot be started.
func checkDevNodes(nodes int) error {
	if nodes < 1 || nodes > devNodesMax {
		return usage("--nodes is 1 to %d, not %d", devNodesMax, nodes)
	}
	return nil
}

// clusterName is the file in the data directory of `weir dev --nodes` that says which cluster it holds, in the form of
// meta.properties. The nodes' own directories are beside it.
const clusterName = "cluster.properties"

// devCluster is the cluster whose data a directory holds.
type devCluster struct {
	id    string
	nodes int
}

// openDevCluster reads whose data a directory holds, or makes a new cluster of it. Data of another number of nodes is refused.
func openDevCluster(dir string, nodes int) (devCluster, error) {
	path := filepath.Join(dir, clusterName)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		return readDevCluster(path, string(text), nodes)
	case !errors.Is(err, os.ErrNotExist):
		return devCluster{}, err
	case nodes == 1:
		return devCluster{nodes: 1}, nil // the directory is the node's, which draws its id itself
	}
	if _, err := os.Stat(filepath.Join(dir, "meta.properties")); err == nil {
		return devCluster{}, fail(explain.WrongData, "start it without --nodes, or give another directory with --data",
			fmt.Errorf("%s holds the data of a single node", dir))
	}
	c := devCluster{id: newClusterID(), nodes: nodes}
	return c, writeDevCluster(path, c)
}

func readDevCluster(path, text string, nodes int) (devCluster, error) {
	var c devCluster
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "cluster.id":
			c.id = value
		case "nodes":
			c.nodes, _ = strconv.Atoi(value) // 0 is refused below
		}
	}
	if c.id == "" || c.nodes < 1 {
		return c, fmt.Errorf("%s: it does not say cluster.id and nodes", path)
	}
	if c.nodes != nodes {
		return c, fail(explain.WrongData, fmt.Sprintf("start it with --nodes %d, or give another directory with --data", c.nodes),
			fmt.Errorf("%s holds the data of a cluster of %d nodes, and --nodes is %d", filepath.Dir(path), c.nodes, nodes))
	}
	return c, nil
}

// writeDevCluster puts the file there whole or not at all.
func writeDevCluster(path string, c devCluster) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeWhole(path, fmt.Appendf(nil, "version=1\ncluster.id=%s\nnodes=%d\n", c.id, c.nodes), 0o640)
}

// writeWhole writes a file that is there whole and on the disk, or not at all.
func writeWhole(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when it was renamed
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// nodeDir is where the data of one node is.
func nodeDir(dir string, node int) string {
	return filepath.Join(dir, strconv.Itoa(node))
}

// nodeAddress is the address of a node, given that of the first one: its port is the next, or any that is free.
func nodeAddress(first string, node int) (string, error) {
	host, port, err := net.SplitHostPort(first)
	if err != nil {
		return "", usage("%q is not HOST:PORT", first)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n != 0 && n+uint64(node) > 1<<16 {
		return "", usage("%s: the nodes take so many ports from %s on, and that is no port number", first, port)
	}
	if n != 0 {
		n += uint64(node - 1)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(n))), nil
}

// owned are properties that `weir dev --nodes` sets itself, for each node.
var owned = []string{
	"node.id", "broker.id", "cluster.id", "log.dirs", "log.dir", "listeners", "advertised.listeners", "http.listener", "nodes.listener",
	"nodes.transport", "controller.quorum.voters", "quic.certificate.file", "quic.key.file",
}

// checkOwned refuses settings of such properties.
func checkOwned(set []string) error {
	for _, s := range set {
		name, _, _ := strings.Cut(s, "=")
		if slices.Contains(owned, name) {
			return usage("--set %s: with --nodes each node has its own; --data, --listen and --http say where they begin", name)
		}
	}
	return nil
}

// devConfigs makes the configuration of every node. settings are those of all.
func (a *app) devConfigs(c devCluster, data, listen, http string, settings []config.Setting, set []string) ([]config.Config, error) {
	if err := checkOwned(set); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, usage("--listen: %q is not HOST:PORT", listen)
	}
	// All show the same certificate, so that clients need to trust one.
	_, pem, err := certificate.LoadOrCreate(filepath.Join(data, "tls"), host)
	if err != nil {
		return nil, err
	}
	var voters []config.Voter
	for i := range votersOf(c.nodes) {
		voters = append(voters, config.Voter{Node: int32(i + 1), Host: fmt.Sprintf("node-%d", i+1), Port: devNodesPort})
	}
	var confs []config.Config
	for i := 1; i <= c.nodes; i++ {
		address, err := nodeAddress(listen, i)
		if err != nil {
			return nil, err
		}
		httpAddress := http
		if http != "" {
			if httpAddress, err = nodeAddress(http, i); err != nil {
				return nil, err
			}
		}
		conf, err := a.load("", append([]config.Setting{
			{Name: "node.id", Value: strconv.Itoa(i), From: "--nodes"},
			{Name: "log.dirs", Value: nodeDir(data, i), From: "--data"},
			{Name: "listeners", Value: address, From: "--listen"},
			{Name: "http.listener", Value: httpAddress, From: "--http"},
			{Name: "quic.certificate.file", Value: pem, From: "--nodes"},
			{Name: "quic.key.file", Value: certificate.KeyPath(pem), From: "--nodes"},
		}, settings...), set)
		if err != nil {
			return nil, err
		}
		conf.Cluster.ID, conf.Cluster.Voters = c.id, voters
		conf.Cluster.Transport, conf.Cluster.Listener = "memory", fmt.Sprintf("node-%d:%d", i, devNodesPort)
		confs = append(confs, conf)
	}
	return confs, nil
}

const devNodesPort = 9192 // in memory, so nobody else can have it

// serveCluster runs the nodes of a cluster in this process until the context ends or one of them fails.
func (a *app) serveCluster(ctx context.Context, confs []config.Config, data string) error {
	log, err := newLogger(confs[0].LogLevel, a.stderr)
	if err != nil {
		return err
	}
	network := memory.New()
	var nodes []*node.Node
	for i := range confs {
		n, err := startInMemory(&confs[i], network, log.With(zap.Int32("node", confs[i].NodeID)))
		if err != nil {
			return errors.Join(fmt.Errorf("node %d: %w", confs[i].NodeID, err), node.CloseAll(nodes...))
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if !awaitReady(ctx, log, n) {
			return node.CloseAll(nodes...) // with the error, if one failed
		}
	}
	list := func(of func(*node.Node) string) string {
		var all []string
		for _, n := range nodes {
			if s := of(n); s != "" {
				all = append(all, s)
			}
		}
		if len(all) == 0 {
			return "off"
		}
		return strings.Join(all, ",")
	}
	kafka, quic, http := list((*node.Node).KafkaAddr), list((*node.Node).QUICAddr), list((*node.Node).HTTPAddr)
	if absolute, err := filepath.Abs(data); err == nil {
		data = absolute
	}
	if _, err := fmt.Fprintf(a.stdout, "ready kafka=%s quic=%s http=%s data=%s nodes=%d\n", kafka, quic, http, data, len(nodes)); err != nil {
		log.Warn("the line that says ready could not be written", zap.Error(err))
	}
	a.hints(kafka, list((*node.Node).QUICAddr), list((*node.Node).HTTPAddr), nodes[0].CertificatePath(), len(nodes))
	failed := make(chan struct{}, len(nodes))
	for _, n := range nodes {
		go func() { <-n.Failed(); failed <- struct{}{} }() // as long as the process lives
	}
	select {
	case <-ctx.Done():
		log.Info("stopping all nodes: asked to by a signal")
	case <-failed:
		log.Error("a node failed: the others are stopped", zap.String("code", string(explain.DiskFailed)), zap.String("fix", explain.Of(explain.DiskFailed).Fix))
	}
	return node.CloseAll(nodes...)
}

// startInMemory starts one node that the others reach by memory.
func startInMemory(c *config.Config, network *memory.Network, log *zap.Logger) (*node.Node, error) {
	listener, err := network.Listen(c.Cluster.Listener)
	if err != nil {
		return nil, err
	}
	n, err := node.Start(node.Options{
		Config: *c, Log: log, Version: version, Nodes: listener,
		Dialers: map[effect.Transport]transport.Dialer{effect.TransportMemory: network},
	})
	if err != nil {
		_ = listener.Close() // perhaps again
		return nil, err
	}
	return n, nil
}
