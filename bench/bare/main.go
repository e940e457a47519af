package bare

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// Main runs a loop as a process, with the output of a driver.
func Main(ctx context.Context, args []string, stdout io.Writer) error {
	var o Options
	f := flag.NewFlagSet("bare", flag.ContinueOnError)
	f.StringVar(&o.Kind, "kind", "", "which loop")
	f.StringVar(&o.Addr, "addr", "", "HOST:PORT of its server")
	f.StringVar(&o.CA, "ca", "", "the server's certificate")
	f.StringVar(&o.Dir, "dir", "", "for files")
	f.DurationVar(&o.Warm, "warm", 300*time.Millisecond, "time before the window")
	f.DurationVar(&o.For, "for", 2*time.Second, "the window")
	f.Int64Var(&o.BytesMax, "bytes-max", 8<<30, "stop after so many bytes")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Warm+o.For+30*time.Second)
	defer cancel()
	r, err := Drive(ctx, o, func(line string) { _, _ = fmt.Fprintln(stdout, line) })
	if err != nil {
		return fmt.Errorf("%s: %w", o.Kind, err)
	}
	if r.Requests == 0 {
		return errors.New("nothing was done in the window")
	}
	return json.NewEncoder(stdout).Encode(r)
}

// ServeMain runs a server of a loop as a process.
func ServeMain(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	kind := f.String("kind", "", "which loop's")
	listen := f.String("listen", "", "HOST:PORT")
	dir := f.String("dir", "", "for files and the certificate")
	if err := f.Parse(args); err != nil {
		return err
	}
	return Serve(ctx, *kind, *listen, *dir)
}
