package main

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cocoon/contracts/api/stats"
	"cocoon/guest/worker"
)

// coefficientFile keeps a changed price over a restart.
const coefficientFile = "coefficient"

// workerPages are the worker's own HTTP pages, for its machine alone.
type workerPages struct {
	w *worker.Worker
	// access is the bearer token of what changes something; empty forbids it all.
	access, stateDir string
	log              *slog.Logger
}

func (p *workerPages) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writePage(w, http.StatusOK, map[string]any{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeReadiness(w, p.w.Readiness())
	})
	mux.HandleFunc("GET /jsonstats", func(w http.ResponseWriter, _ *http.Request) { writePage(w, http.StatusOK, workerStats(p.w.Status())) })
	mux.HandleFunc("POST /request/change_coefficient", p.guarded(p.changeCoefficient))
	mux.HandleFunc("POST /request/enable", p.guarded(func(*http.Request) error { p.w.SetEnabled(true); return nil }))
	mux.HandleFunc("POST /request/disable", p.guarded(func(*http.Request) error { p.w.SetEnabled(false); return nil }))
	return mux
}

// guarded lets only who knows the token change something.
func (p *workerPages) guarded(do func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || p.access == "" || subtle.ConstantTimeCompare([]byte(token), []byte(p.access)) != 1 {
			writePage(w, http.StatusUnauthorized, map[string]any{"error": "a bearer token is needed: http_access_hash of the configuration"})
			return
		}
		if err := do(r); err != nil {
			writePage(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		writePage(w, http.StatusOK, map[string]any{"ok": true})
	}
}

func (p *workerPages) changeCoefficient(r *http.Request) error {
	c, err := worker.ParseCoefficient(r.URL.Query().Get("coefficient"))
	if err != nil {
		return err
	}
	if p.stateDir != "" {
		name := filepath.Join(p.stateDir, coefficientFile)
		err := os.WriteFile(name+".new", strconv.AppendInt(nil, int64(c), 10), 0o600) //nolint:gosec // the operator chooses the folder
		if err == nil {
			err = os.Rename(name+".new", name)
		}
		if err != nil {
			return fmt.Errorf("keeping the coefficient: %w", err)
		}
	}
	return p.w.SetCoefficient(c)
}

// writeReadiness answers /readyz; a role that is not ready says so with its status, too.
func writeReadiness(w http.ResponseWriter, r stats.Readiness) {
	code := http.StatusOK
	if !r.Ready {
		code = http.StatusServiceUnavailable
	}
	if r.Reasons == nil {
		r.Reasons = []stats.Reason{}
	}
	writePage(w, code, r)
}

func writePage(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // the reader is gone when this does not succeed
}

// workerStats is the snapshot as JSON. It says nothing about clients.
func workerStats(s worker.Status) map[string]any {
	proxies := make([]map[string]any, 0, len(s.Proxies))
	for _, p := range s.Proxies {
		proxies = append(proxies, map[string]any{
			"address": p.Address, "sc_address": p.Contract, "image_hash": hex.EncodeToString(p.Image[:]), "ready": p.Ready,
			"since": p.Since.Unix(), "proto_version": p.Version, "active_requests": p.Active, "owed_tokens": p.Owed,
		})
	}
	t := s.Totals
	return map[string]any{
		"status": map[string]any{
			"state": s.State, "reason": s.Reason, "enabled": s.Enabled, "engine_up": s.Engine, "model": s.Model, "coefficient": s.Coefficient,
			"active_requests": s.Active, "max_active_requests": s.Limit, "started_at": s.Started.Unix(),
			"engine_running": s.Load.Running, "engine_waiting": s.Load.Waiting, "engine_kv_use": s.Load.KVUse, "chain": s.Chain,
		},
		"stats": map[string]int64{
			"queries": t.Queries, "success": t.Success, "failed": t.Failed, "cancelled": t.Cancelled, "refused": t.Refused,
			"engine_down": t.EngineDown, "prompt_tokens": t.PromptTokens, "cached_tokens": t.CachedTokens,
			"completion_tokens": t.CompletionTokens, "reasoning_tokens": t.ReasoningTokens, "usage_rejected": t.UsageRejected,
			"estimated": t.Estimated,
		},
		"proxy_connections": proxies,
	}
}

// serve answers on the loopback until ctx ends.
func (p *workerPages) serve(ctx context.Context, port int64) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)))
	if err != nil {
		return fmt.Errorf("listening for status: %w", err)
	}
	server := &http.Server{
		Handler: p.handler(), ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: metricsTimeout,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving status: %w", err)
	}
	return nil
}
