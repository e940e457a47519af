package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/consumer"
)

// consuming is the flags of consume.
type consuming struct {
	offset, until  string
	stopAtEnd      bool
	follow         bool
	partitions     []int32
	regex          bool
	readCommitted  bool
	format, null   string
	filters        []string
	grep           string
	count, atLeast int64
	runFor, idle   time.Duration
	limit          time.Duration // --timeout, if it was given
	group          grouping
}

func (a *app) consumeCommand() *cobra.Command {
	k := &connection{}
	var f consuming
	c := &cobra.Command{
		Use: "consume TOPIC...", Aliases: []string{"tail"}, Short: "Read records", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Read records and write each one's value and a newline to standard output; --format and --output json show more. Without
--offset and --until it shows what comes from now on, until Ctrl-C.

` + placesHelp + `

` + verbsHelp + `

With --output json each record is a line of JSON with these fields, which ` + "`weir produce --format json`" + ` reads:

` + recordSchema + `

` + filtersHelp + `

It ends at --until, after --count records, after --for a while or when nothing has come for --idle, all with exit code 0.
With --at-least it fails unless so many records came; with --timeout it fails when that is over before the end has come.

With --group the members of the group divide the partitions among them, and the group remembers how far it is: reading
goes on where it stopped. --offset then says where to begin in partitions that the group has not read yet; without it that
is their start. What was written to standard output is committed every second and at the end.`,
		Example: `  weir consume orders                                  # what comes from now on
  weir consume orders --offset start --until end       # what there is now
  weir consume orders --offset -10 --until end         # the last ten of each partition
  weir consume orders --offset @-1h --until @-30m      # half an hour of it
  weir consume orders --offset 1000 -p 3 -n 10 --format '%p/%o %k: %v\n'
  weir consume orders --offset start -e --output json | jq .key
  weir consume 'order.*' --regex --offset start -e --filter key=alice --filter 'value~paid|sent'
  weir consume orders --offset start --count 1 --timeout 5s > /dev/null || echo "nothing came"
  weir consume orders --group billing --until end`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("timeout") {
				f.limit = k.timeout
			}
			write, err := a.consumeWriter(cmd, &f)
			if err != nil {
				return err
			}
			if err := f.validate(); err != nil {
				return err
			}
			r := &consumption{app: a, flags: &f, write: write, timeout: k.timeout}
			if err := r.prepare(); err != nil {
				return err
			}
			cl, done, err := k.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			r.client = cl
			return r.run(cmd.Context(), args)
		},
	}
	k.flags(c)
	fl := c.Flags()
	fl.StringVarP(&f.offset, "offset", "o", "", "`PLACE` to start at; default end, with --until or --stop-at-end start")
	fl.StringVar(&f.offset, "from", "", "the same as --offset")
	fl.StringVar(&f.until, "until", "", "`PLACE` to end before; end is the end as it is when the command starts")
	fl.BoolVarP(&f.stopAtEnd, "stop-at-end", "e", false, "short for --until end")
	fl.BoolVarP(&f.follow, "follow", "F", false, "go on after the end, which is the default; it makes --until a mistake")
	fl.Int64VarP(&f.count, "count", "n", 0, "stop after so many `records`; 0: do not")
	fl.Int64Var(&f.atLeast, "at-least", 0, "fail (exit code 1) unless so many `records` came")
	fl.DurationVar(&f.runFor, "for", 0, "stop after this `time`")
	fl.DurationVar(&f.idle, "idle", 0, "stop when no record has come for this `time`")
	fl.Int32SliceVarP(&f.partitions, "partition", "p", nil, "read these `partitions`; default all")
	fl.BoolVar(&f.regex, "regex", false, "TOPICs are regular expressions for whole names; of the topics that exist at the start")
	fl.BoolVar(&f.readCommitted, "read-committed", false, "hide records of aborted and undecided transactions")
	fl.StringVarP(&f.format, "format", "f", `%v\n`, "how to print a record; json is short for --output json")
	fl.StringVar(&f.null, "null", "", "`TEXT` to print for null in formats")
	fl.StringArrayVar(&f.filters, "filter", nil, "show only records that pass, as `FIELD=TEXT` and others above; may be repeated")
	fl.StringVar(&f.grep, "grep", "", "show only records in which `REGEX` is found")
	f.group.flags(c)
	return c
}

// consumeWriter makes what prints records.
func (a *app) consumeWriter(cmd *cobra.Command, f *consuming) (recordWriter, error) {
	if f.format == "json" {
		return writeJSON, nil
	}
	if a.json() {
		if cmd.Flags().Changed("format") {
			return nil, usage("--format and --output json are two ways to print: give one")
		}
		return writeJSON, nil
	}
	return formatter{null: f.null}.parse(f.format)
}

// validate finds what contradicts itself.
func (f *consuming) validate() error {
	switch {
	case f.count < 0 || f.atLeast < 0:
		return usage("--count and --at-least are numbers from 0 on")
	case f.runFor < 0 || f.idle < 0:
		return usage("--for and --idle are times such as 10s")
	case f.stopAtEnd && f.until != "" && f.until != "end":
		return usage("--stop-at-end is --until end, and --until says %s: give one", f.until)
	case f.follow && (f.until != "" || f.stopAtEnd):
		return usage("--follow goes on after the end, --until does not: give one")
	case f.count > 0 && f.atLeast > f.count:
		return usage("--at-least %d cannot come when --count %d is the end", f.atLeast, f.count)
	}
	if f.stopAtEnd {
		f.until = "end"
	}
	if f.offset == "" {
		f.offset = "end"
		if f.until != "" || f.group.name != "" {
			f.offset = "start"
		}
	}
	return f.group.validate(f)
}

// source is where records come from: a consumer by assignment or a member of a group.
type source interface {
	PollInto(ctx context.Context, dst []consumer.Record) ([]consumer.Record, error)
	Unread(records []consumer.Record)
	Close() error
}

// tooFew says that fewer records came than were asked for.
func tooFew(n, wanted int64, why string) error {
	return fail("too-few-records", "", fmt.Errorf("%s came, not %d: %s", amount(n, "record"), wanted, why))
}

// errLimit is the cause of a context that ended because --timeout was over.
var errLimit = errors.New("--timeout is over")
