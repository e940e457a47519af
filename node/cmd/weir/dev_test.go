package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/jepsen/chaos"
)

// weir dev --nodes 3 is a cluster: each node serves clients on an address of its own, records are on all of them, the data
// survives kill -9 and a stop, and a directory keeps its number of nodes.
func TestDevRunsAClusterInOneProcess(t *testing.T) {
	t.Parallel()
	bin, data := buildWeir(t), filepath.Join(t.TempDir(), "data")
	start := func() *broker.Broker {
		return serve(t, broker.Options{Binary: bin, Data: data, Listen: "127.0.0.1:0", Args: []string{"--nodes", "3", "--http", "127.0.0.1:0"}})
	}
	b := start()
	addrs := strings.Split(b.Kafka, ",")
	if len(addrs) != 3 || strings.Count(b.QUIC, ",") != 2 || strings.Count(b.HTTP, ",") != 2 {
		t.Fatalf("the line that says ready does not name three nodes: kafka=%s quic=%s http=%s", b.Kafka, b.QUIC, b.HTTP)
	}
	do(t, "", "topic", "create", "orders", "--partitions", "3", "-b", addrs[0])
	if out := do(t, "", "topic", "describe", "orders", "--output", "json", "-b", addrs[2]); strings.Count(out, `"isr":[`) != 3 || strings.Contains(out, `"replicas":[1],`) {
		t.Errorf("described by another node as %s", out)
	}
	leaders := map[string]bool{}
	for _, line := range strings.Split(do(t, "", "topic", "describe", "orders", "-b", addrs[1]), "\n")[2:] {
		if f := strings.Fields(line); len(f) > 3 {
			leaders[f[1]] = true
			if strings.Count(f[3], ",") != 2 {
				t.Errorf("there are not three replicas: %s", line)
			}
		}
	}
	if len(leaders) != 3 {
		t.Errorf("three partitions are led by %d nodes", len(leaders))
	}
	do(t, "one\n", "produce", "orders", "-p", "0", "-b", addrs[1])
	do(t, "two\n", "produce", "orders", "-p", "1", "--transport", "quic", "--ca", filepath.Join(data, "tls", "dev-certificate.pem"), "-b", addrs[2])
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	b = start()
	if out := do(t, "", "consume", "orders", "-e", "--offset", "start", "-b", b.Kafka); out != "one\ntwo\n" && out != "two\none\n" {
		t.Errorf("after kill -9: %q", out)
	}
	if err := b.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	for args, says := range map[string]string{
		"dev --nodes 5 --data " + data: "holds the data of a cluster of 3 nodes, and --nodes is 5",
		"dev --data " + data:           "holds the data of a cluster of 3 nodes, and --nodes is 1",
	} {
		code, _, errs := weir(t, "", strings.Fields(args)...)
		if code != 1 || !strings.Contains(errs, "error wrong-data: ") || !strings.Contains(errs, says) || !strings.Contains(errs, "fix: start it with --nodes 3") {
			t.Errorf("weir %s: exit code %d\n%s", args, code, errs)
		}
	}
	single := t.TempDir()
	if err := os.WriteFile(filepath.Join(single, "meta.properties"), []byte("version=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := weir(t, "", "dev", "--nodes", "3", "--data", single); code != 1 || !strings.Contains(errs, "the data of a single node") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// Of four nodes three vote; the fourth holds partitions as they do.
func TestDevRunsNodesThatDoNotVote(t *testing.T) {
	t.Parallel()
	b := serve(t, broker.Options{Binary: buildWeir(t), Data: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", Args: []string{"--nodes", "4", "--http", ""}})
	addrs := strings.Split(b.Kafka, ",")
	if code, _, errs := weir(t, "", "topic", "create", "orders", "--partitions", "4", "-b", addrs[3]); code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := weir(t, "1\n2\n3\n", "produce", "orders", "-p", "1", "-b", addrs[3]); code != 0 {
		t.Fatal(errs)
	}
	if code, out, errs := weir(t, "", "consume", "orders", "-e", "--offset", "start", "-b", addrs[0]); code != 0 || out != "1\n2\n3\n" {
		t.Errorf("%q %s", out, errs)
	}
	// It is no controller: it has that make the topic which keeps groups' offsets.
	if code, out, errs := weir(t, "", "consume", "orders", "--group", "first", "--offset", "start", "--until", "end", "--timeout", "30s", "-b", addrs[3]); code != 0 || out != "1\n2\n3\n" {
		t.Errorf("%q %s", out, errs)
	}
	_, out, _ := weir(t, "", "topic", "describe", "orders", "-b", addrs[0])
	leads := false
	for _, line := range strings.Split(out, "\n")[2:] {
		f := strings.Fields(line)
		leads = leads || len(f) > 1 && f[1] == "4"
	}
	if !leads {
		t.Errorf("the node that does not vote leads none of four partitions:\n%s", out)
	}
}

// weir dev --chaos breaks nodes that are processes, and nothing that was acknowledged is lost. Its report is for people, or JSON,
// and is in the directory when one was given.
func TestChaosLosesNothing(t *testing.T) {
	t.Parallel()
	bin, data := buildWeir(t), filepath.Join(t.TempDir(), "data")
	c := child(t, 2*time.Minute, bin, "dev", "--nodes", "3", "--chaos", "--for", "8s", "--seed", "3", "--rate", "300", "--data", data, "--output", "json")
	out, err := c.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v\n%s%s", err, out, exit.Stderr)
		}
		t.Fatal(err)
	}
	var r chaos.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Acked < 2000 || r.Read != r.Sent || r.Acked != r.Sent || r.Wrong() != 0 || len(r.Faults) == 0 || len(r.Kinds) == 0 || r.WorstGapMs <= 0 || r.Latency == nil {
		t.Errorf("%s", out)
	}
	kept, err := os.ReadFile(filepath.Join(data, "report.json"))
	if err != nil || !strings.Contains(string(kept), `"seed": 3,`) {
		t.Errorf("the report in the directory: %v\n%s", err, kept)
	}
	for _, name := range []string{"node-1.log", "node-3.properties", "2/meta.properties", "cluster.properties"} {
		if _, err := os.Stat(filepath.Join(data, name)); err != nil {
			t.Error(err)
		}
	}
	// The directory is that of a cluster of three: it can be looked at, without faults.
	b := serve(t, broker.Options{Binary: bin, Data: data, Listen: "127.0.0.1:0", Args: []string{"--nodes", "3", "--http", ""}})
	if code, out, errs := weir(t, "", "topic", "ls", "-b", b.Kafka); code != 0 || !strings.Contains(out, "chaos-") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if err := b.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
}
