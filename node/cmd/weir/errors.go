package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/node/explain"
)

func (a *app) errorsCommand() *cobra.Command {
	var kafka bool
	c := &cobra.Command{
		Use: "errors [CODE]", Short: "Explain error codes: weir's own and Kafka's", Args: cobra.MaximumNArgs(1),
		Long: `Explain an error code: what happened, the usual cause, what to do. A code is one of those that errors and log lines
of weir carry, or one of Kafka's protocol by its name or number. Without a code, list them.`,
		Example: `  weir errors
  weir errors disk-full
  weir errors 3
  weir errors NOT_ENOUGH_REPLICAS
  weir errors --kafka --output json`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var codes []string
			for _, e := range explain.All() {
				codes = append(codes, string(e.Code)+"\t"+e.Title)
			}
			for _, k := range explain.KafkaAll() {
				codes = append(codes, k.Name)
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.explainCode(args[0])
			}
			return a.listErrors(kafka)
		},
	}
	c.Flags().BoolVar(&kafka, "kafka", false, "list the error codes of Kafka's protocol instead")
	return c
}

func (a *app) explainCode(text string) error {
	entry, kafka := explain.Find(text)
	if entry == nil && kafka == nil {
		hint := ";"
		if near := explain.Near(text); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage("no error is called %q%s `weir errors` and `weir errors --kafka` list them", text, hint)
	}
	if a.json() {
		if entry != nil {
			return a.printJSON(entry)
		}
		return a.printJSON(kafka)
	}
	var b strings.Builder
	if entry != nil {
		fmt.Fprintf(&b, "%s: %s\n", entry.Code, entry.Title)
		paragraph(&b, "cause", entry.Cause)
		paragraph(&b, "fix", entry.Fix)
		paragraph(&b, "seen", entry.Where)
	}
	if kafka != nil {
		fmt.Fprintf(&b, "%s, error code %d of Kafka's protocol\n", kafka.Name, kafka.Number)
		paragraph(&b, "cause", kafka.Cause)
		paragraph(&b, "fix", kafka.Fix)
		if kafka.Retriable {
			paragraph(&b, "retry", "clients try again by themselves")
		} else {
			paragraph(&b, "retry", "clients report it at once: trying again does not help")
		}
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// paragraph writes text under a heading beside it.
func paragraph(b *strings.Builder, heading, text string) {
	for i, line := range wrap(text, 100) {
		if i > 0 {
			heading = ""
		}
		fmt.Fprintf(b, "  %-6s %s\n", heading, line)
	}
}

func (a *app) listErrors(kafka bool) error {
	if kafka {
		all := explain.KafkaAll()
		if a.json() {
			return a.printLines(len(all), func(i int) any { return all[i] })
		}
		var rows [][]string
		for _, k := range all {
			rows = append(rows, []string{strconv.Itoa(int(k.Number)), k.Name, k.Cause})
		}
		return a.table("NUMBER NAME CAUSE", rows)
	}
	all := explain.All()
	if a.json() {
		return a.printLines(len(all), func(i int) any { return all[i] })
	}
	var rows [][]string
	for _, e := range all {
		rows = append(rows, []string{string(e.Code), e.Title})
	}
	return a.table("CODE MEANING", rows)
}
