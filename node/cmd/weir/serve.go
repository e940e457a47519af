package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
)

// serve runs a node until the context ends or the node fails. ready is called when it serves.
func (a *app) serve(ctx context.Context, c config.Config, ready func(*node.Node)) error {
	log, err := newLogger(c.LogLevel, a.stderr)
	if err != nil {
		return err
	}
	n, err := node.Start(node.Options{Config: c, Log: log, Version: version})
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fail(explain.Configuration, "listeners is an address of this machine, or 0.0.0.0 for all of them; an address that clients "+
			"see and this machine does not have, behind NAT or a load balancer, goes into advertised.listeners", err)
	}
	if err != nil {
		return err
	}
	if !awaitReady(ctx, log, n) {
		return n.Close() // with the error, if it failed
	}
	quic := n.QUICAddr()
	if quic == "" {
		quic = "off"
	}
	http := n.HTTPAddr()
	if http == "" {
		http = "off"
	}
	if _, err := fmt.Fprintf(a.stdout, "ready kafka=%s quic=%s http=%s data=%s\n", n.KafkaAddr(), quic, http, n.DataDir()); err != nil {
		log.Warn("the line that says ready could not be written", zap.Error(err))
	}
	if ready != nil {
		ready(n)
	}
	select {
	case <-ctx.Done():
		log.Info("stopping: asked to by a signal")
	case <-n.Failed():
	}
	return n.Close()
}

// awaitReady waits until the node serves; false says that it does not come to that, because it failed or a signal came.
func awaitReady(ctx context.Context, log *zap.Logger, n *node.Node) bool {
	select {
	case <-n.Ready():
		return true
	case <-ctx.Done():
		log.Info("stopping: asked to by a signal before it was ready")
	case <-n.Failed():
	}
	return false
}

// newLogger logs to w: in columns for a person at a terminal, one JSON object a line otherwise. Repetitions
// of one message are thinned out, so that clients cannot fill a disk with it.
func newLogger(level string, w io.Writer) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, usage("log.level: %v", err)
	}
	var encoder zapcore.Encoder
	if isTerminal(w) {
		c := zap.NewDevelopmentEncoderConfig()
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(c)
	} else {
		c := zap.NewProductionEncoderConfig()
		c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		encoder = zapcore.NewJSONEncoder(c)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), l)
	const perSecond, thenEvery = 20, 1000
	return zap.New(zapcore.NewSamplerWithOptions(core, 1e9, perSecond, thenEvery)), nil
}
