package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

// threeNodes writes the configuration files of a cluster of three.
func threeNodes(t *testing.T) (files []string) {
	t.Helper()
	dir := t.TempDir()
	var voters []string
	for i := range 3 {
		addr, err := broker.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, addr))
	}
	for i, v := range voters {
		_, addr, _ := strings.Cut(v, "@")
		file := filepath.Join(dir, fmt.Sprintf("node-%d.properties", i+1))
		text := fmt.Sprintf("node.id=%d\ncluster.id=u8j--kmgQcmi28nj_Rlaaw\nlog.dirs=%s\nlisteners=127.0.0.1:0\nhttp.listener=127.0.0.1:0\n"+
			"nodes.listener=%s\nnodes.transport=tcp\ncontroller.quorum.voters=%s\n", i+1, filepath.Join(dir, fmt.Sprint("data-", i+1)), addr, strings.Join(voters, ","))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// A node says that it is ready when clients are served, and not when its process runs: until then it says for which of
// the others it waits.
func TestReadyMeansThatTheClusterServes(t *testing.T) {
	t.Parallel()
	bin := buildWeir(t)
	files := threeNodes(t)
	start := func(file string, args ...string) *broker.Broker {
		return startProcess(t, broker.Options{Binary: bin, Config: file, Args: args})
	}
	http0, err := broker.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	readyz := func() (int, string) {
		resp, err := http.Get("http://" + http0 + "/readyz")
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	first := start(files[0], "--http", http0)
	eventually(t, "it says for whom it waits", func() bool {
		return strings.Contains(first.Log(), `"code":"not-ready","waiting_for":"node 2 at 127.0.0.1:`)
	})
	if log := first.Log(); !strings.Contains(log, "node 3 at 127.0.0.1:") || !strings.Contains(log, "connection refused") || !strings.Contains(log, `"fix":"a new cluster is founded by node 1`) {
		t.Errorf("it does not say whom it cannot reach, why, and what to do:\n%s", log)
	}
	if code, body := readyz(); code != 503 || !strings.HasPrefix(body, "waiting for node 2 at") {
		t.Errorf("/readyz of a node that waits: %d %s", code, body)
	}
	if err := first.Ready(50 * time.Millisecond); err == nil {
		t.Error("it said ready")
	}
	second := start(files[1])
	eventually(t, "the second is reached", func() bool { _, body := readyz(); return strings.HasPrefix(body, "waiting for node 3 at") })
	if err := second.Stop(30 * time.Second); err != nil {
		t.Errorf("SIGTERM while it waits: %v", err)
	}
	if !strings.Contains(second.Log(), "node 1, which founds the cluster") && !strings.Contains(second.Log(), "before it was ready") {
		t.Errorf("the second says\n%s", second.Log())
	}
	second = start(files[1])
	third := start(files[2])
	for i, b := range []*broker.Broker{first, second, third} {
		if err := b.Ready(30 * time.Second); err != nil {
			t.Fatalf("node %d: %v", i+1, err)
		}
	}
	if code, body := readyz(); code != 200 {
		t.Errorf("/readyz of a node that is ready: %d %s", code, body)
	}
	on := []string{"-b", first.Kafka + "," + second.Kafka + "," + third.Kafka}
	if code, _, errs := weir(t, "hello\n", append([]string{"produce", "greetings"}, on...)...); code != 0 {
		t.Errorf("right after all are ready: %s", errs)
	}

	// One by itself, of a cluster that is founded: it waits for a majority.
	for _, b := range []*broker.Broker{first, second, third} {
		if err := b.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	third = start(files[2])
	eventually(t, "it says that it needs a majority", func() bool {
		log := third.Log()
		return strings.Contains(log, `"waiting_for":"node 1 at 127.0.0.1:`) && strings.Contains(log, `"fix":"a majority, 2 of 3, is needed`)
	})
	if err := third.Ready(50 * time.Millisecond); err == nil {
		t.Error("it said ready without a majority")
	}
}
