package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/node/explain"
)

// healthPatience is how long the loop may be busy before the node counts as stuck.
const healthPatience = 2 * time.Second

// httpHandler serves what operators and their tools ask:
//
//	/healthz      is the process worth keeping?
//	/readyz       can clients be sent here?
//	/metrics      Prometheus
//	/debug/pprof  Go's profiles, if pprof.enable
func (n *Node) httpHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(n.metrics, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, n.health()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := n.health()
		switch {
		case err != nil:
		case n.stopping():
			err = errStopping
		case !n.isReady():
			on, _ := n.Waiting()
			err = fmt.Errorf("waiting for %s", on)
		case n.cutOff.Load():
			err = errCutOff
		}
		answerHealth(w, err)
	})
	if n.config.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// errCutOff is why a node sends clients away that is well, and has served.
var errCutOff = errors.New("cut off from the controller, or too few voters run: clients are sent away")

func answerHealth(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, err)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// health says what is wrong with the node, if anything.
func (n *Node) health() error {
	select {
	case <-n.failed:
		return n.Err()
	default:
	}
	if n.recovered.Load() && !n.loop.look(func(*broker.Broker) {}, healthPatience) {
		return fmt.Errorf("the loop has not answered for %v", healthPatience)
	}
	return nil
}

func (n *Node) serveHTTP(listener net.Listener) {
	n.http = &http.Server{
		Handler: n.httpHandler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: zap.NewStdLog(n.log),
	}
	n.tasks.Go(func() {
		if err := n.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("http listener ended", zap.String("code", string(explain.HTTPFailed)), zap.Error(err),
				zap.String("fix", explain.Of(explain.HTTPFailed).Fix))
		}
	})
}
