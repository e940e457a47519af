package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/node/config"
)

var rewrite = flag.Bool("rewrite", false, "write the examples in docs anew instead of comparing them")

// freePorts is the first of so many ports in a row that nobody has.
func freePorts(t *testing.T, count int) int {
	t.Helper()
	isFree := func(port int) bool {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return false
		}
		defer l.Close()
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			return false
		}
		return u.Close() == nil
	}
	for range 200 {
		addr, err := broker.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := net.SplitHostPort(addr)
		first, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		free := 1
		for free < count && isFree(first+free) {
			free++
		}
		if free == count {
			return first
		}
	}
	t.Fatalf("there are no %d ports in a row that are free", count)
	return 0
}

// What weir cluster init writes starts as it is: three processes that trust each other over QUIC.
func TestWhatClusterInitWritesIsACluster(t *testing.T) {
	t.Parallel()
	bin, dir := buildWeir(t), filepath.Join(t.TempDir(), "cluster")
	first := freePorts(t, 9)
	code, out, errs := weir(t, "", "cluster", "init", "--dir", dir, "--port", fmt.Sprint(first), "--nodes-port", fmt.Sprint(first+3),
		"--http-port", fmt.Sprint(first+6), "--output", "json")
	if code != 0 {
		t.Fatal(errs)
	}
	var made struct {
		Configurations []string
		Authority      string
		Brokers        []string
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || len(made.Configurations) != 3 || len(made.Brokers) != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	var nodes []*broker.Broker
	for _, file := range made.Configurations {
		nodes = append(nodes, startProcess(t, broker.Options{Binary: bin, Config: file}))
	}
	for i, b := range nodes {
		if err := b.Ready(30 * time.Second); err != nil {
			t.Fatalf("node %d: %v", i+1, err)
		}
	}
	do(t, "", "topic", "create", "orders", "-b", made.Brokers[0])
	do(t, "hello\n", "produce", "orders", "-b", made.Brokers[1])
	// A client over QUIC trusts the cluster's authority, and with it every node.
	for _, addr := range made.Brokers {
		if out := do(t, "", "consume", "orders", "-e", "--offset", "start", "--transport", "quic", "--ca", made.Authority, "-b", addr); out != "hello\n" {
			t.Errorf("%s: %q", addr, out)
		}
	}
	// A node with a renewed certificate is trusted by those that run.
	if err := nodes[2].Kill(); err != nil {
		t.Fatal(err)
	}
	do(t, "", "cluster", "certificate", "3", "--dir", dir)
	serve(t, broker.Options{Binary: bin, Config: made.Configurations[2]})
	// A second cluster in the same place would be the end of the first.
	if code, _, errs := weir(t, "", "cluster", "init", "--dir", dir); code != 1 || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// The examples in docs are what the command writes.
func TestTheExamplesAreWhatClusterInitWrites(t *testing.T) {
	examples, err := filepath.Abs("../../../docs/examples/cluster")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	code, _, errs := weir(t, "", "cluster", "init", "--dir", "weir-cluster", "--cluster-id", "u8j--kmgQcmi28nj_Rlaaw", "--port", "19092", "--nodes-port", "19192", "--http-port", "19644")
	if code != 0 {
		t.Fatal(errs)
	}
	for _, name := range []string{"node-1.properties", "node-2.properties", "node-3.properties"} {
		want, err := os.ReadFile(filepath.Join("weir-cluster", name))
		if err != nil {
			t.Fatal(err)
		}
		if *rewrite {
			if err := os.WriteFile(filepath.Join(examples, name), want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(filepath.Join(examples, name)); err != nil || string(got) != string(want) {
			t.Errorf("docs/examples/cluster/%s is not what weir cluster init writes (go test -run TestTheExamples -rewrite ./node/cmd/weir): %v\n%s", name, err, got)
		}
	}
}

// Nodes on machines of their own listen on all addresses, say which is theirs, and have the same ports; those that share
// a machine do not.
func TestConfigurationsForSeveralMachines(t *testing.T) {
	dir := t.TempDir()
	code, _, errs := weir(t, "", "cluster", "init", "--dir", dir, "--hosts", "a.example,b.example,b.example", "--data", "/var/lib/weir", "--transport", "tls")
	if code != 0 {
		t.Fatal(errs)
	}
	var all []config.Config
	for _, name := range []string{"node-1.properties", "node-2.properties", "node-3.properties"} {
		c, ignored, err := config.Load(filepath.Join(dir, name), nil, nil)
		if err == nil {
			err = c.Validate()
		}
		if err != nil || len(ignored) > 0 {
			t.Fatalf("%s: %v, ignored %v", name, err, ignored)
		}
		all = append(all, c)
	}
	one, three := &all[0], &all[2]
	if one.Listener != "0.0.0.0:9092" || one.Advertised != "a.example:9092" || one.Cluster.Listener != "0.0.0.0:9192" || one.HTTP != "127.0.0.1:9644" || one.DataDir != "/var/lib/weir" || one.Cluster.Transport != "tls" {
		t.Errorf("%+v", one)
	}
	if two := &all[1]; two.DataDir != "/var/lib/weir/2" || three.DataDir != "/var/lib/weir/3" {
		t.Errorf("two nodes of a machine have their data in %s and %s", two.DataDir, three.DataDir)
	}
	if three.Advertised != "b.example:9093" || three.Cluster.Listener != "0.0.0.0:9193" || three.Cluster.Voters[2].Port != 9193 || three.Cluster.Voters[1].Port != 9192 {
		t.Errorf("%+v", three)
	}
	if one.Cluster.ID == "" || one.Cluster.ID != three.Cluster.ID {
		t.Errorf("ids %q and %q", one.Cluster.ID, three.Cluster.ID)
	}
	four := t.TempDir()
	if code, _, errs := weir(t, "", "cluster", "init", "--dir", four, "--nodes", "4", "--hosts", "a.example,b.example,c.example,d.example"); code != 0 {
		t.Fatal(errs)
	}
	last, _, err := config.Load(filepath.Join(four, "node-4.properties"), nil, nil)
	if err != nil || len(last.Cluster.Voters) != 3 || last.NodeID != 4 || last.Advertised != "d.example:9092" {
		t.Errorf("%v: %+v", err, last.Cluster)
	}
	code, out, errs := weir(t, "", "cluster", "certificate", "4", "--dir", four)
	if code != 0 || !strings.Contains(out, "d.example") || strings.Contains(out, "0.0.0.0") {
		t.Errorf("%s%s", out, errs)
	}
	// What an interrupted one has left is not written over, either: somebody may trust it.
	if err := os.Remove(filepath.Join(four, "node-1.properties")); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := weir(t, "", "cluster", "init", "--dir", four); code != 1 || !strings.Contains(errs, "error wrong-data: ") || !strings.Contains(errs, "interrupted") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	for args, says := range map[string]string{
		"--nodes 0":                      "1 to 100",
		"--hosts a.example,b.example":    "names 2 machines, and there are 3 nodes",
		"--transport carrier-pigeon":     "quic, tls or tcp",
		"--port 65534":                   "no port",
		"--hosts a,b,c --nodes-port -1":  "no port",
		"--hosts a,,c":                   "without a name",
		"--nodes-port 9094":              "two nodes would listen at 127.0.0.1:9094",
		"--hosts a,b,c --http-port 9192": "two nodes would listen at a:9192",
	} {
		if code, _, errs := weir(t, "", append([]string{"cluster", "init", "--dir", filepath.Join(dir, "other")}, strings.Fields(args)...)...); code != 2 || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d: %s", args, code, errs)
		}
	}
}
