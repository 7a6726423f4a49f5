package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/api/stats"
)

const (
	// operatorsAbove is how far above the status port the operators' port is (protocol.md section 8.1).
	operatorsAbove = 9
	// maxOrder bounds the body of an order.
	maxOrder = 16 << 10
)

// order is what an operator may have done; the argument finds a parameter by its name.
type order func(parameter func(name string) string) error

// rolePages are what a role serves over HTTP on its machine's loopback: what it shows, on one port, and what operators
// order, on another, which does not open without a token.
type rolePages struct {
	views stats.Views
	// orders are by name, below /admin/ and, as in the reference implementation, below /request/.
	orders map[string]order
	access string
	log    *slog.Logger
}

// serve answers until ctx ends.
func (p *rolePages) serve(ctx context.Context, port int64) error {
	surface, err := stats.NewSurface(p.views, p.log)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.listen(ctx, port, surface.Handler()) })
	if p.access != "" {
		group.Go(func() error { return p.listen(ctx, port+operatorsAbove, p.operators()) })
	}
	return group.Wait()
}

func (p *rolePages) listen(ctx context.Context, port int64, h http.Handler) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)))
	if err != nil {
		return fmt.Errorf("listening for status: %w", err)
	}
	server := &http.Server{
		Handler: h, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: metricsTimeout,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving status: %w", err)
	}
	return nil
}

// operators serves orders and /perf to who knows the token. A request that a web page made is refused.
func (p *rolePages) operators() http.Handler {
	want := sha256.Sum256([]byte("Bearer " + p.access))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		name, found := strings.CutPrefix(r.URL.Path, "/admin/")
		if !found {
			name, found = strings.CutPrefix(r.URL.Path, "/request/")
		}
		do := p.orders[name]
		switch {
		case p.access == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			writeAnswer(w, http.StatusUnauthorized, "a bearer token is needed: http_access_hash of the configuration")
		case r.Header.Get("Origin") != "":
			writeAnswer(w, http.StatusForbidden, "web pages give no orders")
		case r.URL.Path == "/perf" && r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			stats.WritePerf(w)
		case !found || do == nil:
			writeAnswer(w, http.StatusNotFound, "there is no such order")
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			writeAnswer(w, http.StatusMethodNotAllowed, "orders are given by POST")
		default:
			p.obey(w, r, name, do)
		}
	})
}

// obey does what is ordered, and says so in the log.
func (p *rolePages) obey(w http.ResponseWriter, r *http.Request, name string, do order) {
	r.Body = http.MaxBytesReader(w, r.Body, maxOrder)
	parameter, err := parameters(r)
	if err == nil {
		err = do(parameter)
	}
	if err != nil {
		p.log.Warn("Order refused", slog.String("order", name), slog.Any("err", err))
		writeAnswer(w, http.StatusBadRequest, err.Error())
		return
	}
	p.log.Info("Order obeyed", slog.String("order", name))
	writeAnswer(w, http.StatusOK, "")
}

// parameters reads a body of JSON or of a form. What is in the URL is not read: URLs end up in logs.
func parameters(r *http.Request) (func(string) string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		if err := r.ParseForm(); err != nil {
			return nil, fmt.Errorf("reading the order: %w", err)
		}
		return r.PostForm.Get, nil
	}
	var fields map[string]any
	if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
		return nil, fmt.Errorf("reading the order: %w", err)
	}
	return func(name string) string {
		switch v := fields[name].(type) {
		case string:
			return v
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		default:
			return ""
		}
	}, nil
}

// writeAnswer answers an operator; without a problem the order is done.
func writeAnswer(w http.ResponseWriter, code int, problem string) {
	doc := map[string]any{"ok": true}
	if problem != "" {
		doc = map[string]any{"error": problem}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(doc) //nolint:errchkjson // the reader is gone when this does not succeed
}
