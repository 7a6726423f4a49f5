package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// idleTimeout is below the 5 s after which engines drop idle connections (inference.md section 12).
	idleTimeout = 4 * time.Second
	// maxHeader bounds the header of an answer (inference.md section 12).
	maxHeader = 64 << 10
	// maxIdle is how many connections wait for use; as many as requests may run.
	maxIdle = 256
	// abortTimeout bounds the request that aborts another.
	abortTimeout = 2 * time.Second
	// trusted is the largest announced size for which memory is taken at once.
	trusted = 1 << 20
	// maxDrain is how much of an answer nobody wants is read to keep its connection.
	maxDrain = 64 << 10
)

// ErrPath means that the path is not on the engine's list.
var ErrPath = errors.New("the engine is not asked for this path")

// ErrTooLarge means that an answer is larger than its bound.
var ErrTooLarge = errors.New("the engine's answer is too large")

// Request is one request to the engine.
type Request struct {
	Path, ContentType string
	// Body is in pieces, one after the other.
	Body [][]byte
	// ID is ours: it lets the client repeat a request that died on a stale connection, and names it when it is aborted.
	ID string
	// Stream says that the answer is a stream of events.
	Stream bool
}

// Response is an answer. Its Body must be closed; to close it before its end stops the engine's work.
type Response struct {
	Status      int
	ContentType string
	// Header is empty where engine.toml strips it.
	Header http.Header
	Body   io.ReadCloser
	// Size is the body's size where the engine announces one, else 0.
	Size int64
}

// Adapter talks to one engine.
type Adapter struct {
	cfg *Config
	// links carry requests; http everything that is small and seldom.
	links *links
	http  *http.Client
}

// New makes an adapter. Nothing is dialled before it is used.
func New(cfg *Config) (*Adapter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("making engine adapter: %w", err)
	}
	cfg.Call("model") // an engine that was given one model without a name answers to any
	network, address := "tcp", cfg.Listen
	if socket, ok := strings.CutPrefix(cfg.Listen, "unix:"); ok {
		network, address = "unix", socket
	}
	var d net.Dialer
	dial := func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, address) }
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// Each look at the engine connects anew: one that takes no connections any more serves no request, however well it
		// answers on those that it has.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	return &Adapter{cfg: cfg, links: &links{dial: dial}, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // an engine sends nobody elsewhere
	}}, nil
}

// Config is what the adapter was made with; it is not to be changed.
func (a *Adapter) Config() *Config { return a.cfg }

// Close drops idle connections.
func (a *Adapter) Close() {
	a.links.close()
}

// Do puts a request to the engine. The answer's status may be any; ctx ends the engine's work on it.
func (a *Adapter) Do(ctx context.Context, r Request) (*Response, error) {
	if !a.cfg.allows(r.Path) {
		return nil, fmt.Errorf("asking engine: %w", ErrPath)
	}
	var rest http.Header
	if !a.cfg.StripHeaders {
		rest = http.Header{}
	}
	h, from, err := a.links.post(ctx, r, rest)
	if err != nil {
		a.abort(ctx, r.ID)
		return nil, fmt.Errorf("asking engine: %w", err)
	}
	if h.encoding != "" && h.encoding != "identity" {
		_ = from.Close()
		return nil, errors.New("asking engine: its answer is encoded although nobody asked for that")
	}
	out := &Response{Status: h.status, ContentType: h.kind, Header: passed(rest), Size: max(h.size, 0)}
	body := io.ReadCloser(from)
	if a.cfg.Cancel.Abort.Path != "" {
		body = &watched{ReadCloser: from, abort: func() { a.abort(ctx, r.ID) }}
	}
	if r.Stream && a.cfg.StreamFormat == "ndjson" && out.ContentType != "text/event-stream" && out.Status == http.StatusOK {
		out.ContentType, out.Size, body = "text/event-stream", 0, newEvents(body)
	}
	out.Body = body
	return out, nil
}

// passed keeps headers that belong to the answer and not to the connection.
func passed(h http.Header) http.Header {
	if h == nil {
		return nil
	}
	for _, word := range h.Values("Connection") {
		for name := range strings.SplitSeq(word, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Content-Length", "Content-Type", "Set-Cookie", "Date", "Server",
	} {
		h.Del(name)
	}
	return h
}

// watched tells an engine that does not notice a closed connection.
type watched struct {
	io.ReadCloser
	ended atomic.Bool
	abort func()
}

// Read notes the end.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		w.ended.Store(true)
	}
	return n, err
}

// Close closes the answer, and with it the engine's work.
func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	if !w.ended.Swap(true) {
		w.abort()
	}
	return err
}

// abort asks the engine to drop a request, where engine.toml says that closing is not enough.
func (a *Adapter) abort(ctx context.Context, id string) {
	if a.cfg.Cancel.Abort.Path == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	body := strings.ReplaceAll(a.cfg.Cancel.Abort.Body, "{request_id}", id)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine"+a.cfg.Cancel.Abort.Path, strings.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	if res, err := a.http.Do(req); err == nil { // an engine that is gone has nothing to abort
		_, _ = io.CopyN(io.Discard, res.Body, maxDrain)
		_ = res.Body.Close()
	}
}

// Health asks the health path once.
func (a *Adapter) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	_, err := a.get(ctx, a.cfg.Health.Path, http.StatusOK, maxDrain)
	if err != nil {
		return fmt.Errorf("checking engine: %w", err)
	}
	return nil
}

func (a *Adapter) timeout() time.Duration { return time.Duration(a.cfg.Health.Timeout) }

// Ready returns once the engine answers, and has completed a short text where engine.toml asks for that. It waits until
// ctx ends, or as long as engine.toml says.
func (a *Adapter) Ready(ctx context.Context) error {
	if limit := time.Duration(a.cfg.Ready.Timeout); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	tick := time.NewTicker(time.Duration(a.cfg.Health.Interval))
	defer tick.Stop()
	for {
		err := a.readyOnce(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for engine: %w", err)
		case <-tick.C:
		}
	}
}

func (a *Adapter) readyOnce(ctx context.Context) error {
	r := a.cfg.Ready
	if r.Path != "" {
		ask, cancel := context.WithTimeout(ctx, a.timeout())
		_, err := a.get(ask, r.Path, r.Expect, maxDrain)
		cancel()
		if err != nil {
			return err
		}
	}
	if r.Then != "completion" {
		return nil
	}
	return a.complete(ctx)
}

// complete asks for a few tokens: an engine that loads a model but cannot run it is not ready.
func (a *Adapter) complete(ctx context.Context) error {
	const path = "/v1/completions"
	if !a.cfg.allows(path) {
		return nil
	}
	body := fmt.Sprintf(`{"model":%q,"prompt":"hi","max_tokens":2,"temperature":0}`, a.cfg.Model)
	res, err := a.Do(ctx, Request{Path: path, ContentType: "application/json", Body: [][]byte{[]byte(body)}, ID: "ready"})
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read side
	if _, err := res.ReadAll(maxDrain); err != nil {
		return err
	}
	if res.Status != http.StatusOK {
		return fmt.Errorf("the first completion: status %d", res.Status)
	}
	return nil
}

// Models lists what the engine calls its models, as it says it.
func (a *Adapter) Models(ctx context.Context) ([]byte, error) {
	if a.cfg.ModelsPath == "" {
		return nil, errors.New("listing models: engine.toml names no path")
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	return a.get(ctx, a.cfg.ModelsPath, http.StatusOK, maxMetrics)
}

func (a *Adapter) get(ctx context.Context, path string, want int, limit int64) (out []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if out, err = readAll(res.Body, limit); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("%s: status %d", path, res.StatusCode)
	}
	return out, nil
}

// readAll reads a bounded body to its end.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(out)) > limit {
		err = ErrTooLarge
	}
	return out, err
}

// ReadAll reads an answer that is not a stream, up to a limit.
func (r *Response) ReadAll(limit int64) ([]byte, error) {
	switch {
	case r.Size > limit:
		return nil, ErrTooLarge
	case r.Size <= 0 || r.Size > trusted: // its memory comes as it comes
		return readAll(r.Body, limit)
	}
	out, n := make([]byte, r.Size+1), 0 // with room for what must not be there
	for n < len(out) {
		k, err := r.Body.Read(out[n:])
		switch n += k; {
		case errors.Is(err, io.EOF) && n < len(out)-1:
			return nil, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF) && n == len(out)-1: // whoever reads the end may use the connection again
			return out[:n], nil
		case err != nil:
			return nil, err
		}
	}
	return nil, ErrTooLarge
}
