package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport/certificate"
)

// clusterPlan is what `weir cluster init` is told.
type clusterPlan struct {
	dir, data, id, transport string
	nodes                    int
	hosts                    []string
	port, nodesPort, http    int
}

const initNodesMax = 100

// tlsDir is where the certificates are, below the cluster's directory.
const tlsDir = "tls"

func (a *app) clusterInitCommand() *cobra.Command {
	var p clusterPlan
	c := &cobra.Command{
		Use: "init", Short: "Write the configurations and certificates of a new cluster", Args: cobra.NoArgs,
		Long: `Write what the nodes of a new cluster need: a configuration for each (node-1.properties, ...), one cluster id, and
certificates by which they trust each other over QUIC, signed by an authority that is made for this cluster. Nothing else is
needed to start them:

  weir cluster init --dir weir-cluster
  weir node --config weir-cluster/node-1.properties       in three terminals, or as three services
  weir node --config weir-cluster/node-2.properties
  weir node --config weir-cluster/node-3.properties

With --hosts each node is on a machine of its own: copy the directory to the same place on all of them, without the keys of
the others (tls/node-N.key) and of the authority. tls/authority.key is only needed to sign again, with weir cluster certificate: keep
it off the nodes. Clients that connect by QUIC trust tls/authority.pem (--ca).

What is written is meant to be read and changed. A directory that holds a cluster is left alone.`,
		Example: `  weir cluster init
  weir cluster init --nodes 5 --dir /etc/weir --data /var/lib/weir --hosts a.example,b.example,c.example,d.example,e.example
  weir cluster init --dir trial --transport tcp --port 19092 --nodes-port 19192 --http-port 19644`,
		RunE: func(*cobra.Command, []string) error { return a.initCluster(&p) },
	}
	f := c.Flags()
	f.StringVar(&p.dir, "dir", "weir-cluster", "directory to write to")
	f.IntVar(&p.nodes, "nodes", 3, "how many nodes; of one or two one votes, of three or four three do, of more five")
	f.StringSliceVar(&p.hosts, "hosts", []string{"127.0.0.1"}, "names or addresses of the nodes' machines, one for each, or one for all")
	f.StringVar(&p.data, "data", "", "directory of the nodes' data, with 1, ... below it for those that share a machine; default data-1, ... below --dir")
	f.IntVar(&p.port, "port", 9092, "port for clients; nodes on one machine take the next ones")
	f.IntVar(&p.nodesPort, "nodes-port", 9192, "port for the other nodes, in the same way")
	f.IntVar(&p.http, "http-port", 9644, "port of health and metrics, in the same way")
	f.StringVar(&p.transport, "transport", "quic", "how nodes reach each other: quic, tls or tcp")
	f.StringVar(&p.id, "cluster-id", "", "the cluster's id; drawn if it is not given")
	return c
}

func (p *clusterPlan) check() error {
	switch {
	case p.nodes < 1 || p.nodes > initNodesMax:
		return usage("--nodes is 1 to %d, not %d", initNodesMax, p.nodes)
	case len(p.hosts) != 1 && len(p.hosts) != p.nodes:
		return usage("--hosts names %d machines, and there are %d nodes: name one for each, or one for all", len(p.hosts), p.nodes)
	case !slices.Contains([]string{"quic", "tls", "tcp"}, p.transport):
		return usage("--transport is quic, tls or tcp, not %q", p.transport)
	}
	if slices.Contains(p.hosts, "") {
		return usage("--hosts names a machine without a name")
	}
	taken := map[string]bool{}
	for _, port := range []int{p.port, p.nodesPort, p.http} {
		if port < 1 || port+p.nodes-1 > 65535 {
			return usage("%d is no port that the nodes could begin with", port)
		}
		for node := 1; node <= p.nodes; node++ {
			at := p.address(node, port)
			if taken[at] {
				return usage("two nodes would listen at %s, or one twice: keep --port, --nodes-port and --http-port as far apart as there are nodes on a machine", at)
			}
			taken[at] = true
		}
	}
	return nil
}

// host is the machine of a node, and which one there it is, from 0 on.
func (p *clusterPlan) host(node int) (host string, place int) {
	if len(p.hosts) == 1 {
		return p.hosts[0], node - 1
	}
	host = p.hosts[node-1]
	for _, earlier := range p.hosts[:node-1] {
		if earlier == host {
			place++
		}
	}
	return host, place
}

func (p *clusterPlan) address(node, port int) string {
	host, place := p.host(node)
	return net.JoinHostPort(host, strconv.Itoa(port+place))
}

// shares reports whether a node shares its machine with another.
func (p *clusterPlan) shares(node int) bool {
	if len(p.hosts) == 1 {
		return p.nodes > 1
	}
	return slices.Contains(slices.Delete(slices.Clone(p.hosts), node-1, node), p.hosts[node-1])
}

// isLocal reports whether a host is this machine in the eyes of every machine.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (p *clusterPlan) file(node int) string {
	return filepath.Join(p.dir, fmt.Sprintf("node-%d.properties", node))
}

// properties are a node's configuration, as people read it.
func (p *clusterPlan) properties(node int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var voters []string
	for i := 1; i <= votersOf(p.nodes); i++ {
		voters = append(voters, fmt.Sprintf("%d@%s", i, p.address(i, p.nodesPort)))
	}
	host, place := p.host(node)
	listen, data := host, p.data
	if !isLocal(host) {
		listen = "0.0.0.0"
	}
	if data == "" {
		data = filepath.Join(p.dir, "data-"+strconv.Itoa(node))
	} else if p.shares(node) {
		data = filepath.Join(data, strconv.Itoa(node))
	}
	at := func(port int) string { return net.JoinHostPort(listen, strconv.Itoa(port+place)) }
	line("# Node %d of %d. Start it with: weir node --config %s", node, p.nodes, p.file(node))
	if !filepath.IsAbs(p.dir) {
		line("# Paths are relative to the directory in which weir is started.")
	}
	line("")
	line("# Who it is: the cluster's id and its voters are the same on every node, the node's id and its data are its own.")
	line("cluster.id=%s", p.id)
	line("controller.quorum.voters=%s", strings.Join(voters, ","))
	line("node.id=%d", node)
	line("log.dirs=%s", data)
	line("")
	line("# Where it listens: for clients (TCP, and QUIC on the UDP port of the same number), for the other nodes, for probes.")
	line("listeners=%s", at(p.port))
	if listen != host {
		line("advertised.listeners=%s", p.address(node, p.port))
	}
	line("nodes.listener=%s", at(p.nodesPort))
	line("nodes.transport=%s", p.transport)
	line("http.listener=%s", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.http+place)))
	line("")
	line("# What it shows to the others and to clients on QUIC, and whom it trusts.")
	line("ssl.certificate.file=%s", filepath.Join(p.dir, tlsDir, fmt.Sprintf("node-%d.pem", node)))
	line("ssl.key.file=%s", filepath.Join(p.dir, tlsDir, fmt.Sprintf("node-%d.key", node)))
	line("ssl.truststore.location=%s", filepath.Join(p.dir, tlsDir, certificate.AuthorityName))
	return b.String()
}

func (a *app) initCluster(p *clusterPlan) error {
	if err := p.check(); err != nil {
		return err
	}
	if p.id == "" {
		p.id = newClusterID()
	}
	if _, err := os.Stat(p.file(1)); !errors.Is(err, os.ErrNotExist) {
		return fail(explain.WrongData, "start its nodes with `weir node --config "+p.file(1)+"`, or give another directory with --dir",
			fmt.Errorf("%s holds the configuration of a cluster already; nothing was changed", p.dir))
	}
	authority, err := certificate.NewAuthority(filepath.Join(p.dir, tlsDir), "weir cluster "+p.id)
	switch {
	case errors.Is(err, os.ErrExist):
		return fail(explain.WrongData, "it may be what an interrupted `weir cluster init` left: remove "+p.dir+" if no node uses it, or give another directory with --dir",
			fmt.Errorf("%s holds the authority of a cluster, and not its configurations; nothing was changed: %w", p.dir, err))
	case err != nil:
		return err
	}
	var files []string
	for node := p.nodes; node >= 1; node-- { // the first last: it says that all is there
		host, _ := p.host(node)
		if _, err := authority.Issue(fmt.Sprintf("node-%d", node), certificateHosts(host)...); err != nil {
			return err
		}
		if err := writeWhole(p.file(node), []byte(p.properties(node)), 0o644); err != nil {
			return err
		}
		files = append(files, p.file(node))
	}
	slices.Reverse(files)
	if a.json() {
		return a.printJSON(map[string]any{
			"cluster_id": p.id, "configurations": files, "authority": filepath.Join(p.dir, tlsDir, certificate.AuthorityName),
			"brokers": p.brokers(),
		})
	}
	weir := asCalled(os.Args[0])
	for node, file := range files {
		host, _ := p.host(node + 1)
		where := ""
		if len(p.hosts) > 1 {
			where = "   on " + host
		}
		if _, err := fmt.Fprintf(a.stdout, "%s node --config %s%s\n", weir, file, where); err != nil {
			return err
		}
	}
	a.say("")
	if voters := votersOf(p.nodes); voters > 1 {
		a.say("  start them all     the first time all of nodes 1 to %d are needed, from then on a majority of them", voters)
	}
	a.say("  any Kafka client   bootstrap.servers=%s", strings.Join(p.brokers(), ","))
	a.say("  QUIC clients       trust %s", filepath.Join(p.dir, tlsDir, certificate.AuthorityName))
	a.say("")
	return nil
}

func (p *clusterPlan) brokers() []string {
	var all []string
	for node := 1; node <= p.nodes; node++ {
		all = append(all, p.address(node, p.port))
	}
	return all
}

// certificateHosts are the names by which a node is reached: its host's, and those that every machine has for itself.
func certificateHosts(host string) []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	if !slices.Contains(all, host) {
		all = append([]string{host}, all...)
	}
	return all
}

func (a *app) clusterCertificateCommand() *cobra.Command {
	var dir string
	var hosts []string
	c := &cobra.Command{
		Use: "certificate NODE", Short: "Sign a new certificate for a node of a cluster", Args: cobra.ExactArgs(1),
		Long: `Sign a new key and certificate for a node, by the authority that weir cluster init made (tls/authority.key): before the old
one expires, which is after two years, or because the node moves to another machine. The node takes it when it starts anew; the
others trust it at once, since they trust the authority.`,
		Example: `  weir cluster certificate 2
  weir cluster certificate 2 --dir /etc/weir --hosts b2.example,10.0.0.12`,
		RunE: func(_ *cobra.Command, args []string) error {
			node, err := strconv.Atoi(args[0])
			if err != nil || node < 0 {
				return usage("NODE is a node's id, such as 2, not %q", args[0])
			}
			p := clusterPlan{dir: dir}
			if len(hosts) == 0 {
				if hosts, err = configuredHosts(p.file(node), int32(node)); err != nil {
					return err
				}
			}
			authority, err := certificate.OpenAuthority(filepath.Join(dir, tlsDir))
			if err != nil {
				return fmt.Errorf("the cluster's authority, which is needed to sign: %w", err)
			}
			name := fmt.Sprintf("node-%d", node)
			until, err := authority.Issue(name, hosts...)
			if err != nil {
				return err
			}
			file := filepath.Join(dir, tlsDir, name+".pem")
			return a.print(map[string]any{"certificate": file, "until": until.UTC().Format(time.RFC3339), "hosts": hosts},
				"%s, for %s, until %s\n", file, strings.Join(hosts, ", "), until.UTC().Format(time.DateOnly))
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", "weir-cluster", "the directory of weir cluster init")
	f.StringSliceVar(&hosts, "hosts", nil, "names and addresses by which the node is reached; default those in its configuration")
	return c
}

// configuredHosts are the names by which a node is reached, as its configuration has them.
func configuredHosts(file string, node int32) ([]string, error) {
	c, _, err := config.Load(file, nil, nil)
	if err != nil {
		return nil, err
	}
	hosts := certificateHosts("localhost")
	add := func(host string) {
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	for _, v := range c.Cluster.Voters {
		if v.Node == node {
			add(v.Host)
		}
	}
	for _, address := range []string{c.Advertised, c.Cluster.Listener, c.Listener} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			add(host)
		}
	}
	return hosts, nil
}
