package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/node/config"
)

const defaultBroker = "127.0.0.1:9092"

func (a *app) nodeCommand() *cobra.Command {
	var file, data, listen, advertise, http string
	var set []string
	c := &cobra.Command{
		Use: "node", Short: "Start a node, or list, drain, add and remove the nodes of a cluster", Args: cobra.NoArgs,
		Annotations: map[string]string{aloneKey: "starts a node"},
		Long: `Start a broker as configured by a file in Kafka's server.properties form, by environment variables
(WEIR_NUM_PARTITIONS for num.partitions) and by flags; later ones win.

When it serves it prints one line, beginning with "ready", on stdout. SIGTERM stops it cleanly, exit code 0. It
exits with 1 when the disk fails: nothing that it could not make durable has been acknowledged.

Properties:

` + propertyHelp(),
		Example: `  weir node --config /etc/weir/server.properties
  weir node --data /var/lib/weir --listen 0.0.0.0:9092 --advertise broker-1.example:9092
  WEIR_LOG_RETENTION_HOURS=48 weir node --data /var/lib/weir --set log.level=warn`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings []config.Setting
			for _, f := range []struct{ flag, name, value string }{
				{"data", "log.dirs", data},
				{"listen", "listeners", listen},
				{"advertise", "advertised.listeners", advertise},
				{"http", "http.listener", http},
			} {
				if cmd.Flags().Changed(f.flag) {
					settings = append(settings, config.Setting{Name: f.name, Value: f.value, From: "--" + f.flag})
				}
			}
			conf, err := a.load(file, settings, set)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), conf, nil)
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "file in server.properties form")
	f.StringVar(&data, "data", "", "directory to keep the data in (log.dirs)")
	f.StringVar(&listen, "listen", "", "HOST:PORT of Kafka's protocol, on TCP and QUIC (listeners)")
	f.StringVar(&advertise, "advertise", "", "HOST:PORT that clients are told to connect to (advertised.listeners)")
	f.StringVar(&http, "http", "", `HOST:PORT of health and metrics; "" turns it off (http.listener)`)
	f.StringArrayVar(&set, "set", nil, "set a property, as NAME=VALUE; may be repeated")
	c.AddCommand(a.manageCommands()...)
	return c
}

// load makes a node's configuration and reports what was ignored.
func (a *app) load(file string, settings []config.Setting, set []string) (config.Config, error) {
	for _, s := range set {
		name, value, found := strings.Cut(s, "=")
		if !found {
			return config.Config{}, usage("--set takes NAME=VALUE, not %q", s)
		}
		settings = append(settings, config.Setting{Name: name, Value: value, From: "--set"})
	}
	c, ignored, err := config.Load(file, os.Environ(), settings)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return c, fail("configuration", "`weir node --help` lists every property with its range", err)
	}
	if len(ignored) > 0 {
		a.say("ignored, since they mean nothing to weir: %s", strings.Join(ignored, ", "))
	}
	return c, nil
}

func propertyHelp() string {
	var b strings.Builder
	for _, p := range config.Properties() {
		value := p.Default
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(&b, "  %s (%s, default %s)\n", p.Name, p.Type, value)
		for _, line := range wrap(propertyDoc(&p), 100) {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// propertyDoc is what a property does, and how else it may be spelt.
func propertyDoc(p *config.Property) string {
	if also := p.Spellings(); len(also) > 0 {
		return p.Doc + " Taken as well: " + strings.Join(also, ", ") + "."
	}
	return p.Doc
}

// wrap breaks text into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
