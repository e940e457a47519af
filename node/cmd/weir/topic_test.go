package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weirmq/weir/node/weirtest"
)

func TestTopicsAreChanged(t *testing.T) {
	b := weirtest.Start(t)
	do := on(t, b)
	do("", "topic", "create", "t", "--config", "retention.ms=1000000")
	do("", "topic", "create", "u", "--dry-run")
	if out := do("", "topic", "ls", "[t-z]"); !strings.Contains(out, "t ") || strings.Contains(out, "u ") {
		t.Errorf("after a dry run: %s", out)
	}
	do("", "topic", "alter", "t", "--config", "max.message.bytes=2000000", "--unset", "retention.ms", "--partitions", "3")
	do("", "topic", "add-partitions", "t", "--more", "2")
	if out := do("", "topic", "add-partitions", "t", "--total", "7"); out != "t has 7 partitions now\n" {
		t.Errorf("adding partitions says %q", out)
	}
	var d topicDescription
	if err := json.Unmarshal([]byte(do("", "topic", "describe", "t", "--output", "json")), &d); err != nil || len(d.Partitions) != 7 {
		t.Errorf("described as %+v, %v", d, err)
	}
	if len(d.Configs) != 1 || d.Configs["max.message.bytes"] != "2000000" {
		t.Errorf("settings are %v", d.Configs)
	}
	if out := do("", "topic", "describe", "t"); !strings.Contains(out, "topic t, id ") || !strings.Contains(out, "\n  max.message.bytes=2000000\n") {
		t.Errorf("described as\n%s", out)
	}
	for args, says := range map[string]string{
		"alter t":                             "nothing is to change",
		"alter t --config retention.ms":       "NAME=VALUE",
		"add-partitions t":                    "--more or --total",
		"add-partitions t --more 1 --total 2": "--more or --total",
		"trim t":                              "--before",
	} {
		if code, _, errs := weir(t, "", append([]string{"topic", "-b", b.Addr()}, strings.Fields(args)...)...); code != 2 || !strings.Contains(errs, says) {
			t.Errorf("topic %s: exit code %d: %s", args, code, errs)
		}
	}
	code, _, errs := weir(t, "", "topic", "alter", "t", "--config", "retention.mss=1", "-b", b.Addr())
	if code != 1 || !strings.Contains(errs, "error invalid-config:") || !strings.Contains(errs, "retention.mss") {
		t.Errorf("an unknown setting: %d %s", code, errs)
	}
	code, _, errs = weir(t, "", "topic", "add-partitions", "t", "--total", "2", "-b", b.Addr())
	if code != 1 || !strings.Contains(errs, "INVALID_PARTITIONS") {
		t.Errorf("fewer partitions: %d %s", code, errs)
	}
	code, _, errs = weir(t, "", "topic", "describe", "order", "ttt", "-b", b.Addr())
	if code != 1 || !strings.Contains(errs, "topic-not-found") {
		t.Errorf("missing topics: %d %s", code, errs)
	}
	do("", "topic", "create", "orders")
	if _, _, errs = weir(t, "", "topic", "describe", "ordres", "-b", b.Addr()); !strings.Contains(errs, "did you mean orders?") {
		t.Errorf("a misspelt topic: %s", errs)
	}
	do("", "topic", "delete", "t", "--yes")
	do("", "topic", "delete", "t", "--if-exists")
}

func TestOldRecordsAreTrimmed(t *testing.T) {
	do := on(t, weirtest.Start(t))
	do("", "topic", "create", "t", "--partitions", "2")
	do("0\n1\n2\n3\n4\n", "produce", "t", "-p", "0")
	do("0\n1\n2\n", "produce", "t", "-p", "1")
	if out := do("", "topic", "trim", "t", "--before", "4", "--dry-run"); out != "PARTITION  BEFORE  WOULD-DELETE  NOTE\n0          4       4             -\n1          3       3             4-is-beyond-the-end:-all-of-it\n" {
		t.Errorf("a dry run says\n%s", out)
	}
	if out := do("", "topic", "trim", "t", "--before", "2", "-p", "0"); out != "PARTITION  START  DELETED  NOTE\n0          2      2        -\n" {
		t.Errorf("trimming says\n%s", out)
	}
	if out := do("", "consume", "t", "-e", "-p", "0"); out != "2\n3\n4\n" {
		t.Errorf("what is left: %q", out)
	}
	var l trimLine
	out := do("", "topic", "trim", "t", "--before", "end", "-p", "1", "--output", "json")
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Start != 3 || l.Deleted != 3 {
		t.Errorf("%v: %s", err, out)
	}
	if out := do("", "consume", "t", "--offset", "0", "--until", "end"); out != "2\n3\n4\n" {
		t.Errorf("what is left: %q", out)
	}
	if out := do("", "topic", "trim", "t", "--before", "+3", "--dry-run"); strings.Contains(out, "0          5       3             5") || !strings.Contains(out, "6-is-beyond-the-end") {
		t.Errorf("three more, where there are three and none: %s", out)
	}
	if out := do("", "topic", "trim", "t", "--before", "1000", "-p", "0"); out != "PARTITION  START  DELETED  NOTE\n0          5      3        1000-is-beyond-the-end:-all-of-it\n" {
		t.Errorf("trimming all says\n%s", out)
	}
}

func TestTheQuestionNamesPartitionsOfWhichNothingIsLeft(t *testing.T) {
	lines := []trimLine{{Topic: "t", Deleted: 1}, {Topic: "t", Partition: 1, Deleted: 1, Note: "9 is beyond the end: all of it"}, {Topic: "t", Partition: 2, Note: "there is nothing"}}
	if got := emptied(lines); got != ", everything in t/1 (9 is beyond the end: all of it)" {
		t.Errorf("it asks with %q", got)
	}
	if got := emptied(lines[:1]); got != "" {
		t.Errorf("where something is left it asks with %q", got)
	}
}

func TestSettingsAreShownAndChanged(t *testing.T) {
	b := weirtest.Start(t)
	do := on(t, b)
	do("", "topic", "create", "t")
	if out := do("", "config", "set", "topic", "t", "retention.ms=5000000", "segment.bytes=1048576"); out != "changed topic t: retention.ms=5000000 segment.bytes=1048576\n" {
		t.Errorf("set says %q", out)
	}
	if out := do("", "config", "get", "topic", "t", "retention.ms"); out != "5000000\n" {
		t.Errorf("get says %q", out)
	}
	do("", "config", "set", "topic", "t", "retention.ms=7", "--dry-run")
	do("", "config", "unset", "topic", "t", "segment.bytes")
	if out := do("", "config", "ls", "topic", "t", "--changed"); !strings.Contains(out, "retention.ms") || !strings.Contains(out, "5000000") || strings.Contains(out, "\nsegment.bytes ") && strings.Contains(out, "1048576") {
		t.Errorf("ls says\n%s", out)
	}
	var one settingJSON
	out := do("", "config", "get", "topic", "t", "retention.ms", "--output", "json")
	if err := json.Unmarshal([]byte(out), &one); err != nil || one.Source != "topic" || one.Value == nil || *one.Value != "5000000" {
		t.Errorf("%v: %s", err, out)
	}
	if out := do("", "config", "ls", "broker"); !strings.Contains(out, "num.partitions") {
		t.Errorf("the broker's settings:\n%s", out)
	}
	if out := do("", "config", "get", "broker", "num.partitions", "log.dirs"); !strings.HasPrefix(out, "num.partitions=") {
		t.Errorf("two of the broker's: %s", out)
	}
	for _, c := range []struct {
		args, says string
		code       int
	}{
		{"get topic t retention.mss", "did you mean retention.ms?", 1},
		{"get topic missing retention.ms", "topic-not-found", 1},
		{"set topic t retention.ms=-7", "invalid-config", 1},
		{"set topic t retention.mss=1", "did you mean retention.ms?", 1},
		{"set broker num.partitons=3", "did you mean num.partitions?", 1},
		{"unset broker num.partitons", "did you mean num.partitions?", 1},
		{"set cluster num.partitions=3 num.partitons=3", "error invalid-config: cluster has no setting \"num.partitons\"", 1},
		{"set broker num.partitions=abc", "error invalid-config: alter settings of broker 1: refused by the broker: INVALID_REQUEST: configuration num.partitions: it is a whole number", 1},
		{"set broker partitions.max=9", "fix: set it in the node's file", 1},
		{"set cluster node.id=3", "fix: a data directory keeps it for life", 1},
		{"get broker log.retention.hours", "takes log.retention.hours as another spelling of log.retention.ms", 1},
		{"set broker log.retention.hours=1", "takes log.retention.hours as another spelling of log.retention.ms", 1},
		{"get broker 7 num.partitions", "error node-not-found: no node 7 has registered", 1},
		{"set broker 7 num.partitions=3", "error node-not-found: no node 7 has registered", 1},
		{"ls broker 7", "error node-not-found: no node 7 has registered", 1},
		{"set topic t nonsense", "NAME=VALUE", 2},
		{"ls pigeon", "pigeon", 2},
		{"ls topic", "topic NAME", 2},
		{"get topic t", "which setting?", 2},
		{"ls topic t retention.ms", "", 2},
	} {
		code, _, errs := weir(t, "", append([]string{"config", "-b", b.Addr()}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("config %s: exit code %d: %s", c.args, code, errs)
		}
	}
}
