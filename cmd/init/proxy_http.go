package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"

	"cocoon/contracts/api/stats"
	"cocoon/guest/proxy"
)

// proxyPages are the proxy's own HTTP pages, for its machine alone.
type proxyPages struct {
	p *proxy.Proxy
	// access is the bearer token of what changes something; empty forbids it all.
	access string
	log    *slog.Logger
}

func (s *proxyPages) handler() (http.Handler, error) {
	pages, err := stats.NewRenderer()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writePage(w, http.StatusOK, map[string]any{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeReadiness(w, s.p.Readiness())
	})
	mux.HandleFunc("GET /jsonstats", func(w http.ResponseWriter, _ *http.Request) { writePage(w, http.StatusOK, s.p.JSONStats()) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		if err := pages.Serve(w, r, s.p.Page()); err != nil {
			s.log.Debug("Page not served", slog.Any("err", err))
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		s.p.WriteMetrics(w)
	})
	mux.HandleFunc("POST /request/enable", s.guarded(func() { s.p.Refuse("") }))
	mux.HandleFunc("POST /request/disable", s.guarded(func() { s.p.Refuse("disabled by the operator") }))
	return mux, nil
}

// guarded lets only who knows the token change something.
func (s *proxyPages) guarded(do func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || s.access == "" || subtle.ConstantTimeCompare([]byte(token), []byte(s.access)) != 1 {
			writePage(w, http.StatusUnauthorized, map[string]any{"error": "a bearer token is needed: http_access_hash of the configuration"})
			return
		}
		do()
		writePage(w, http.StatusOK, map[string]any{"ok": true})
	}
}

// serve answers on the loopback until ctx ends.
func (s *proxyPages) serve(ctx context.Context, port int64) error {
	handler, err := s.handler()
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)))
	if err != nil {
		return fmt.Errorf("listening for status: %w", err)
	}
	server := &http.Server{
		Handler: handler, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: metricsTimeout,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving status: %w", err)
	}
	return nil
}
