package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/transport/memory"
)

// smallCluster is a cluster in this process.
type smallCluster struct {
	t       *testing.T
	confs   []config.Config
	network *memory.Network
	nodes   []*node.Node // nil: stopped
}

func startCluster(t *testing.T, nodes int, set ...string) *smallCluster {
	t.Helper()
	a := &app{stdout: os.Stdout, stderr: os.Stderr}
	data := t.TempDir()
	confs, err := a.devConfigs(devCluster{id: newClusterID(), nodes: nodes}, data, "127.0.0.1:0", "", nil, set)
	if err != nil {
		t.Fatal(err)
	}
	c := &smallCluster{t: t, confs: confs, network: memory.New(), nodes: make([]*node.Node, nodes)}
	t.Cleanup(func() {
		running := slices.DeleteFunc(c.nodes, func(n *node.Node) bool { return n == nil })
		if err := node.CloseAll(running...); err != nil {
			t.Error(err)
		}
	})
	c.start(ids(nodes)...)
	return c
}

// start starts nodes and waits until they serve.
func (c *smallCluster) start(nodes ...int32) {
	c.t.Helper()
	for _, id := range nodes {
		n, err := startInMemory(&c.confs[id-1], c.network, zap.NewNop())
		if err != nil {
			c.t.Fatal(err)
		}
		c.nodes[id-1] = n
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, id := range nodes {
		if !awaitReady(ctx, zap.NewNop(), c.nodes[id-1]) {
			c.t.Fatalf("node %d does not come to serve: %v", id, c.nodes[id-1].Err())
		}
		c.confs[id-1].Listener = c.nodes[id-1].KafkaAddr() // where clients know it
	}
}

// stop stops a node as SIGTERM does.
func (c *smallCluster) stop(id int) {
	if n := c.nodes[id-1]; n != nil {
		c.nodes[id-1] = nil
		if err := n.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// addrs are the addresses of the nodes that run.
func (c *smallCluster) addrs() string {
	var addrs []string
	for _, n := range c.nodes {
		if n != nil {
			addrs = append(addrs, n.KafkaAddr())
		}
	}
	return strings.Join(addrs, ",")
}

// run runs a command, on the cluster by way of all of its nodes.
func (c *smallCluster) run(stdin string, args ...string) (code int, out, errs string) {
	c.t.Helper()
	return weir(c.t, stdin, append(args, "--brokers", c.addrs())...)
}

// do runs a command that must succeed.
func (c *smallCluster) do(stdin string, args ...string) string {
	c.t.Helper()
	code, out, errs := c.run(stdin, args...)
	if code != 0 {
		c.t.Fatalf("weir %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// fails runs a command that must fail with a code, and says something. Whichever node is asked may not have heard yet why, but
// it must not succeed.
func (c *smallCluster) fails(code, says string, args ...string) {
	c.t.Helper()
	c.becomes(func(exit int, out, errs string) bool {
		if exit == 0 {
			c.t.Fatalf("weir %s did not fail with %s:\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return exit == 1 && strings.Contains(errs, "error "+code+": ") && strings.Contains(errs, says)
	}, args...)
}

// becomes runs a command until it ends as it must: whichever node is asked may not have heard yet of what was done before.
func (c *smallCluster) becomes(right func(exit int, out, errs string) bool, args ...string) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		exit, out, errs := c.run("", args...)
		if right(exit, out, errs) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("weir %s, after 30 s still: exit code %d\n%s%s", strings.Join(args, " "), exit, out, errs)
		}
	}
}

func (c *smallCluster) status() (s statusJSON) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.do("", "cluster", "status", "--output", "json")), &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// eventually waits until the cluster is in some state.
func (c *smallCluster) eventually(what string, is func(s statusJSON) bool) {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s := c.status()
		if is(s) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not in 30 s: %s; it is %+v", what, s)
		}
	}
}

func (c *smallCluster) records(topic string) []string {
	c.t.Helper()
	lines := strings.Split(strings.TrimSpace(c.do("", "consume", topic, "-e", "--offset", "start")), "\n")
	slices.Sort(lines)
	return lines
}

func TestANodeIsDrainedTakenBackAndRemoved(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 5)
	c.do("", "topic", "create", "orders", "--partitions", "6")
	c.do("", "topic", "create", "pairs", "--partitions", "4", "--replication-factor", "2")
	var in strings.Builder
	for i := range 500 {
		fmt.Fprintf(&in, "record %03d\n", i)
	}
	c.do(in.String(), "produce", "orders")
	want := c.records("orders")
	if len(want) != 500 {
		t.Fatalf("%d records", len(want))
	}

	c.eventually("every topic is known", func(s statusJSON) bool { return s.Partitions == 10 && s.Healthy })
	plan := c.do("", "node", "drain", "3", "--dry-run")
	if !strings.HasPrefix(plan, "TOPIC") || !strings.Contains(plan, "copy") || c.status().Nodes[2].Replicas == 0 {
		t.Errorf("planned:\n%s", plan)
	}
	if out := c.do("", "node", "drain", "3", "--leaders-only"); !strings.Contains(out, "node 3 leads nothing") {
		t.Error(out)
	}
	c.eventually("others lead", func(s statusJSON) bool { return s.Nodes[2].Leads == 0 && s.Nodes[2].Replicas > 0 })
	if out := c.do("", "node", "drain", "3"); !strings.Contains(out, "node 3 holds nothing any more") {
		t.Error(out)
	}
	c.do("", "topic", "create", "later", "--partitions", "10")
	// Whichever node is asked may not have heard of everything yet.
	c.eventually("a drained node holds nothing", func(s statusJSON) bool {
		n := s.Nodes[2]
		return n.Leads == 0 && n.Replicas == 0 && s.Healthy && s.Partitions == 20 && s.Moving == 0
	})
	c.eventually("a drained node has no files but the metadata log's", func(statusJSON) bool {
		files, err := filepath.Glob(filepath.Join(c.confs[2].DataDir, "log", "partitions", "*"))
		return err == nil && len(files) == 3
	})
	c.do("", "cluster", "balance")
	if n := c.status().Nodes[2]; n.Replicas != 0 {
		t.Errorf("a cluster that is balanced gives a drained node %d replicas", n.Replicas)
	}
	c.fails("node-running", "node 3 is running", "node", "remove", "3")
	c.fails("not-drained", "node 2 holds", "node", "remove", "2")
	c.fails("node-not-found", "no node 9", "node", "drain", "9")

	if out := c.do("", "node", "add", "3"); !strings.Contains(out, "node 3 has its share") {
		t.Error(out)
	}
	// A plan is made of what the node knows that is asked, which may be behind: balanced is what each takes for it.
	c.eventually("what is balanced is not balanced again, and every node holds as much as others", func(statusJSON) bool {
		c.do("", "cluster", "balance")
		if !strings.Contains(c.do("", "cluster", "balance", "--dry-run"), "nothing is to be moved") {
			return false
		}
		s := c.status()
		least, most := 1000, 0
		for _, n := range s.Nodes {
			least, most = min(least, n.Replicas), max(most, n.Replicas)
		}
		return most-least <= 1
	})
	if got := c.records("orders"); !slices.Equal(got, want) {
		t.Fatalf("%d records of %d after everything was moved", len(got), len(want))
	}
	// All at once: what was taken away and given back is there.
	if err := node.CloseAll(c.nodes...); err != nil {
		t.Fatal(err)
	}
	c.start(ids(5)...)
	c.eventually("healthy after a restart", func(s statusJSON) bool { return s.Healthy })
	if got := c.records("orders"); !slices.Equal(got, want) {
		t.Fatalf("%d records of %d after a restart", len(got), len(want))
	}

	// A node that is dead is drained and removed as well.
	c.stop(4)
	c.eventually("node 4 is down", func(s statusJSON) bool { return s.Nodes[3].Down })
	c.do("", "node", "drain", "4")
	c.do("", "node", "remove", "4")
	c.eventually("the node is gone", func(s statusJSON) bool { return len(s.Nodes) == 4 && s.UnderReplicated == 0 })
	if got := c.records("orders"); !slices.Equal(got, want) {
		t.Fatalf("%d records of %d after a node was removed", len(got), len(want))
	}
}

func TestATopicIsMovedAndMovesAreGivenUp(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 4)
	c.do("", "topic", "create", "orders", "--partitions", "3", "--replication-factor", "1")
	c.do(strings.Repeat(strings.Repeat("x", 1000)+"\n", 3000), "produce", "orders", "--compression", "none", "--batch-bytes", "100000")
	c.eventually("the topic is known", func(s statusJSON) bool { return s.Partitions == 3 && s.Healthy })
	replicas := func() (all [][]int32) {
		var d topicDescription
		if err := json.Unmarshal([]byte(c.do("", "topic", "describe", "orders", "--output", "json")), &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Partitions {
			all = append(all, p.Replicas)
		}
		return all
	}
	// Whichever node is asked may not have heard yet.
	become := func(what string, is func(p int, replicas []int32) bool) {
		t.Helper()
		c.eventually(what, func(s statusJSON) bool {
			ok := s.Healthy && s.Moving == 0
			for p, r := range replicas() {
				ok = ok && is(p, r)
			}
			return ok
		})
	}
	before := replicas()
	if plan := c.do("", "topic", "move", "ord*", "--replication-factor", "3", "--dry-run"); strings.Count(plan, "copy") != 3 || !slices.EqualFunc(before, replicas(), slices.Equal[[]int32]) {
		t.Errorf("planned:\n%s", plan)
	}
	if out := c.do("", "topic", "move", "orders", "--replication-factor", "3"); !strings.Contains(out, "3 partitions moved") {
		t.Error(out)
	}
	become("three copies, led by who had the first", func(p int, r []int32) bool { return len(r) == 3 && r[0] == before[p][0] })
	if out := c.do("", "topic", "move", "orders", "--replication-factor", "3"); !strings.Contains(out, "0 partitions moved") {
		t.Error(out)
	}
	c.do("", "topic", "move", "orders", "--replication-factor", "2")
	become("two copies", func(p int, r []int32) bool { return len(r) == 2 && r[0] == before[p][0] })
	c.do("", "topic", "move", "orders", "-p", "1", "--to", "4,2")
	become("one partition where it is to be", func(p int, r []int32) bool { return len(r) == 2 && (p != 1 || slices.Equal(r, []int32{4, 2})) })

	// What takes minutes is given up.
	before = replicas()
	c.do("", "config", "set", "cluster", "follower.replication.throttled.rate=1000")
	if out := c.do("", "topic", "move", "orders", "--replication-factor", "4", "--wait=false"); !strings.Contains(out, "3 partitions are being moved") {
		t.Error(out)
	}
	c.eventually("it is being moved", func(s statusJSON) bool { return s.Moving == 3 })
	if out := c.do("", "topic", "move", "orders", "--cancel", "-p", "0", "--dry-run"); !strings.HasPrefix(out, "MOVING") || strings.Count(out, "\n") != 2 {
		t.Error(out)
	}
	if out := c.do("", "topic", "move", "orders", "--cancel"); !strings.Contains(out, "3 moves given up") {
		t.Error(out)
	}
	become("where it was", func(p int, r []int32) bool { return slices.Equal(r, before[p]) })
	if out := c.do("", "topic", "move", "orders", "--cancel"); !strings.Contains(out, "none of them") {
		t.Error(out)
	}
	if n := len(c.records("orders")); n != 3000 {
		t.Errorf("%d records of 3000 after everything was moved", n)
	}
	c.fails("too-few-nodes", "5 replicas", "topic", "move", "orders", "--replication-factor", "5")
	c.fails("node-not-found", "no node 9", "topic", "move", "orders", "--to", "9")
	c.fails("topic-not-found", "weir topic ls", "topic", "move", "order", "--cancel")
	c.fails("partition-not-found", "0 to 2", "topic", "move", "orders", "-p", "3", "--cancel")
	for _, args := range [][]string{{}, {"--cancel", "--to", "1"}, {"--to", "1,1"}, {"--replication-factor", "-1"}} {
		if code, _, errs := c.run("", append([]string{"topic", "move", "orders"}, args...)...); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
}

func TestATopicIsMadeWhileANodeIsDown(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	c.stop(3)
	c.eventually("node 3 is down", func(s statusJSON) bool { return s.Nodes[2].Down })
	c.do("", "topic", "create", "orders", "--partitions", "6")
	c.do("a\nb\n", "produce", "orders")
	c.start(3)
	c.eventually("three copies of everything", func(s statusJSON) bool { return s.Healthy && s.Partitions == 6 && s.Nodes[2].Replicas == 6 })
	if got := c.records("orders"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

// A throttled move takes its time, and clients that produce meanwhile are not held up by it.
func TestAMoveIsThrottled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	c.do("", "topic", "create", "orders", "--replication-factor", "1")
	c.do(strings.Repeat(strings.Repeat("x", 1000)+"\n", 3000), "produce", "orders", "--compression", "none", "--batch-bytes", "100000")
	var d topicDescription
	if err := json.Unmarshal([]byte(c.do("", "topic", "describe", "orders", "--output", "json")), &d); err != nil {
		t.Fatal(err)
	}
	c.do("", "config", "set", "cluster", "follower.replication.throttled.rate=77000000")
	begin := time.Now()
	c.do("", "node", "drain", fmt.Sprint(d.Partitions[0].Leader), "--throttle", "1000000")
	// 3 MB at 1 MB a second; the last piece is not waited for.
	if took := time.Since(begin); took < 1500*time.Millisecond {
		t.Errorf("3 MB were moved in %v", took)
	}
	c.becomes(func(exit int, out, _ string) bool { return exit == 0 && strings.Contains(out, "77000000") }, // the throttle is what it was
		"config", "get", "cluster", "follower.replication.throttled.rate")
	c.do("", "config", "unset", "cluster", "follower.replication.throttled.rate")
	if code, _, errs := c.run("", "node", "drain", "1", "--throttle", "1000000", "--wait=false"); code != 2 || !strings.Contains(errs, "does not wait") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if n := len(c.records("orders")); n != 3000 {
		t.Errorf("%d records", n)
	}
	begin = time.Now()
	c.do("", "node", "drain", fmt.Sprint(d.Partitions[0].Leader%3+1))
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("without a throttle it took %v", took)
	}
}

// socket.request.max.bytes is for clients: what nodes tell each other of the metadata may be larger.
func TestASmallLimitOfRequestsDoesNotKeepNodesFromEachOther(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, "socket.request.max.bytes=32768", "message.max.bytes=16384")
	c.do("", "topic", "create", "wide", "--partitions", "1000")
	c.eventually("all of it is known", func(s statusJSON) bool { return s.Partitions == 1000 && s.Healthy })
}

// Who asks what is wrong is told while it lasts, by the nodes that are left.
func TestALostQuorumIsSaidToBeLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	c.do("", "topic", "create", "orders", "--partitions", "3")
	c.stop(2)
	c.stop(3)
	for begin := time.Now(); ; {
		code, out, errs := c.run("", "cluster", "health", "--timeout", "60s")
		if code != 1 || errs != "" {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if strings.HasPrefix(out, "no-controller: ") {
			break
		}
		if time.Since(begin) > 30*time.Second { // the controller finds out by itself that it is none
			t.Fatal(out)
		}
	}
	if out := c.do("", "cluster", "status", "--timeout", "60s"); !strings.Contains(out, "controller: none answers") {
		t.Error(out)
	}
	if code, out, errs := c.run("", "topic", "describe", "orders", "--timeout", "60s"); code != 0 || !strings.Contains(errs, "no controller answers") || !strings.Contains(out, "PARTITION") {
		t.Errorf("describe: exit code %d\n%s%s", code, out, errs)
	}
	// Who would change something does not go by what is left: nobody tells it what is being moved.
	if code, out, errs := c.run("", "cluster", "balance", "--timeout", "6s"); code != 1 || !strings.Contains(errs, "error timed-out: ") && !strings.Contains(errs, "NOT_CONTROLLER") {
		t.Errorf("balance: exit code %d\n%s%s", code, out, errs)
	}
}

func TestHealthSaysWhatIsWrongAndWhy(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	c.do("", "topic", "create", "orders", "--partitions", "3")
	c.do("", "topic", "create", "single", "--replication-factor", "1", "--partitions", "3")
	c.do("a\nb\n", "produce", "orders", "-p", "0")
	c.becomes(func(exit int, out, _ string) bool {
		return exit == 0 && strings.HasPrefix(out, "healthy: 3 nodes, 6 partitions of 2 topics")
	}, "cluster", "health")
	var members []quorumLine
	for _, line := range strings.Split(strings.TrimSpace(c.do("", "cluster", "quorum", "--output", "json")), "\n") {
		var q quorumLine
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		members = append(members, q)
	}
	leaders := 0
	for _, m := range members {
		if m.Role == "leader" {
			leaders++
		}
		if m.End == 0 || m.Directory == "" || m.HeardMs < 0 {
			t.Errorf("%+v", m)
		}
	}
	if len(members) != 3 || leaders != 1 {
		t.Errorf("%+v", members)
	}
	if out := c.do("", "node", "ls"); strings.Count(out, "serving") != 3 || strings.Count(out, "controller") != 1 {
		t.Error(out)
	}

	c.stop(2)
	c.eventually("node 2 is down", func(s statusJSON) bool { return s.Nodes[1].Down && s.UnderReplicated == 3 })
	c.do("c\n", "produce", "orders", "-p", "0")
	c.becomes(func(code int, out, errs string) bool {
		for _, says := range []string{"no-leader: 1 partition", "node-down: node 2", "quorum-at-risk: voter 2", "under-replicated: 3 partitions", "  cause ", "  fix "} {
			if !strings.Contains(out, says) {
				return false
			}
		}
		return code == 1 && errs == ""
	}, "cluster", "health")
	c.becomes(func(code int, out, _ string) bool {
		var h healthJSON
		err := json.Unmarshal([]byte(out), &h)
		return err == nil && code == 1 && !h.Healthy && len(h.Problems) == 4 && h.Problems[0].Fix != ""
	}, "cluster", "health", "--output", "json")
	c.becomes(func(code int, out, _ string) bool {
		return code == 0 && strings.Count(out, "under-replicated: node 2 is down") == 3 && strings.Contains(out, "ELR  LAG")
	}, "topic", "describe", "orders")
	// Of the two that are left, the one that follows lacks nothing.
	c.becomes(func(code int, out, _ string) bool {
		var d topicDescription
		ok := json.Unmarshal([]byte(out), &d) == nil && code == 0 && len(d.Partitions) == 3
		for _, p := range d.Partitions {
			ok = ok && len(p.Lag) == 1 && len(p.Why) == 1
			for node, lag := range p.Lag {
				ok = ok && lag == 0 && node != "2"
			}
		}
		return ok
	}, "topic", "describe", "orders", "--output", "json")
	c.fails("node-down", "node 2 is not counted on", "config", "get", "broker", "2", "num.partitions")
	c.fails("node-down", "node 2 is not counted on", "config", "set", "broker", "2", "num.partitions=3")
	c.fails("too-few-nodes", "without node 2 there is no node for a replica of", "node", "drain", "2")
	c.fails("too-few-nodes", "fix: Start the nodes that are down, or add one first.", "node", "drain", "2")

	c.start(2)
	c.eventually("healthy again", func(s statusJSON) bool { return s.Healthy })
}

// quorum is the nodes by role: voters, the leader among them, and observers.
func (c *smallCluster) quorum() (voters, observers []int32, leader int32) {
	c.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(c.do("", "cluster", "quorum", "--output", "json")), "\n") {
		var q quorumLine
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			c.t.Fatal(err)
		}
		switch q.Role {
		case "leader":
			leader = q.Node
			voters = append(voters, q.Node)
		case "voter":
			voters = append(voters, q.Node)
		default:
			observers = append(observers, q.Node)
		}
	}
	slices.Sort(voters)
	return voters, observers, leader
}

func TestVotersAreAddedAndRemovedWhileServing(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 4) // three of them vote
	c.do("", "topic", "create", "orders", "--partitions", "4")
	c.do("a\nb\nc\n", "produce", "orders")
	voters, observers, leader := c.quorum()
	if !slices.Equal(voters, []int32{1, 2, 3}) || !slices.Equal(observers, []int32{4}) {
		t.Fatalf("voters %v, observers %v", voters, observers)
	}
	if out := c.do("", "cluster", "quorum", "add", "4"); out != "node 4 votes\n" {
		t.Error(out)
	}
	c.fails("node-not-found", "node 9", "cluster", "quorum", "add", "9")
	if voters, observers, _ := c.quorum(); !slices.Equal(voters, ids(4)) || len(observers) != 0 {
		t.Fatalf("voters %v, observers %v", voters, observers)
	}
	// The one that leads goes: it hands over, stays a broker, and follows the log as an observer.
	c.do("", "cluster", "quorum", "remove", fmt.Sprint(leader))
	voters, observers, next := c.quorum()
	if len(voters) != 3 || slices.Contains(voters, leader) || !slices.Equal(observers, []int32{leader}) || next == leader {
		t.Fatalf("voters %v, observers %v, leader %d after %d was removed", voters, observers, next, leader)
	}
	c.do("", "topic", "create", "later", "--partitions", "8")
	c.eventually("every node serves", func(s statusJSON) bool { return s.Healthy && s.Leaderless == 0 && s.Partitions == 12 })
	c.do("d\n", "produce", "later")

	// The voters are in the log, and not in the configuration: they are the same after all have been restarted.
	if err := node.CloseAll(c.nodes...); err != nil {
		t.Fatal(err)
	}
	c.start(ids(4)...)
	if again, _, _ := c.quorum(); !slices.Equal(again, voters) {
		t.Errorf("voters %v before and %v after a restart", voters, again)
	}
	c.eventually("healthy", func(s statusJSON) bool { return s.Healthy })
	if got := c.records("orders"); len(got) != 3 {
		t.Errorf("%v", got)
	}

	// A voter whose disk is lost comes back as another, and is put in its place.
	_, _, leader = c.quorum()
	victim := voters[slices.IndexFunc(voters, func(n int32) bool { return n != leader })]
	c.stop(int(victim))
	if err := os.RemoveAll(c.confs[victim-1].DataDir); err != nil {
		t.Fatal(err)
	}
	c.eventually("it is missed", func(s statusJSON) bool { return s.Nodes[victim-1].Down })
	c.start(victim)
	c.eventually("healthy with an empty disk", func(s statusJSON) bool { return s.Healthy })
	// The voter of the old disk is none that anybody knows the directory of.
	c.eventually("the new disk votes", func(statusJSON) bool {
		return !strings.Contains(c.do("", "cluster", "quorum", "--output", "json"), `"role":"voter","log_end_offset"`)
	})
	if again, _, _ := c.quorum(); !slices.Equal(again, voters) {
		t.Errorf("voters %v before and %v after a disk was replaced", voters, again)
	}
	// It counts: with one of the others gone there is still a majority.
	other := voters[slices.IndexFunc(voters, func(n int32) bool { return n != victim })]
	c.stop(int(other))
	c.do("", "topic", "create", "last", "--replication-factor", "1")
}

func TestLeadersAreElectedWhenAnOperatorAsks(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	c.do("", "topic", "create", "orders", "--partitions", "1", "--replication-factor", "2", "--config", "min.insync.replicas=1")
	described := func() (p partitionLine) {
		t.Helper()
		var d topicDescription
		if err := json.Unmarshal([]byte(c.do("", "topic", "describe", "orders", "--output", "json")), &d); err != nil || len(d.Partitions) != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		return d.Partitions[0]
	}
	p := described()
	first, second := p.Replicas[0], p.Replicas[1]
	if out := c.do("", "topic", "elect", "orders"); !strings.Contains(out, "led already") {
		t.Error(out)
	}
	if out := c.do("", "topic", "elect", "orders", "--unclean"); !strings.Contains(out, "nothing to elect") {
		t.Error(out)
	}
	// The second misses what the first alone has, and is there when the first is not.
	c.stop(int(second))
	c.eventually("the second is down", func(s statusJSON) bool { return s.UnderReplicated == 1 })
	c.do("missed\n", "produce", "orders")
	c.stop(int(first))
	c.start(second)
	c.eventually("nobody leads", func(s statusJSON) bool { return described().Leader < 0 })
	code, out, errs := c.run("", "topic", "elect", "orders")
	if code != 1 || !strings.Contains(out, "not elected") || !strings.Contains(errs, "PREFERRED_LEADER_NOT_AVAILABLE") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out = c.do("", "topic", "elect", "orders", "-p", "0", "--unclean", "--output", "json")
	if want := fmt.Sprintf(`"leader":%d,"elected":true`, second); !strings.Contains(out, want) {
		t.Errorf("%s, want %s", out, want)
	}
	c.do("kept\n", "produce", "orders")
	c.start(first)
	c.eventually("all are in sync", func(s statusJSON) bool { return s.UnderReplicated == 0 })
	if out := c.do("", "topic", "elect", "orders"); !strings.Contains(out, fmt.Sprintf(" %d ", first)) {
		t.Errorf("%s, want the preferred one, %d", out, first)
	}
	if got := c.records("orders"); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("%q", got)
	}
}
