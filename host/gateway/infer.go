package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/emulate"
	"cocoon/contracts/promptcrypt"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/upstream"
)

// defaultMaxTokens is what a request without a limit asks for (protocol.md section 8.1).
const defaultMaxTokens = 10_000

// grace is how much longer than the deadline a request lives here: the proxy and the worker know the deadline too, and
// their word on it has the numbers.
const grace = 250 * time.Millisecond

// exchange is one request of an app on its way through the gateway. It belongs to its handler's goroutine.
type exchange struct {
	s   *Server
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context // ends with the app's connection

	path, contentType string
	req               *api.Request
	body              []byte
	key               string
	began, deadline   time.Time

	call *upstream.Call
	sent []byte    // the body as the proxy got it
	hold keys.Hold // of the attempt
	id   [32]byte
	name name
	// emulate says that the answer to a streaming request is made from a whole one (inference.md section 6.5).
	emulate bool
	// armed is when the write deadline was set.
	armed time.Time
	// committed says that the head of the answer was sent, streaming that events follow it.
	committed, streaming bool
	// first is when the first byte of the answer came, after began.
	first   time.Duration
	outcome outcome
	values  []string // of the answer's headers
}

// infer answers one of the paths that take JSON.
func (s *Server) infer(w http.ResponseWriter, r *http.Request, path string, ep api.Endpoint) {
	x, body, err := s.admit(w, r, path, jsonMedia, s.cfg.MaxBody)
	if err == nil {
		x.req, err = s.policy.Read(ep, body)
	}
	if err != nil {
		s.refuseRequest(w, err)
		return
	}
	x.body, x.contentType = body, jsonMedia
	x.run()
}

// admit checks the key, its budgets and the form of the body, and reads the body whole: whether the app is still there
// can only be seen behind it (inference.md section 8).
func (s *Server) admit(w http.ResponseWriter, r *http.Request, path, media string, most int64) (*exchange, []byte, error) {
	key, err := s.cfg.Keys.Identify(r.Header.Get("Authorization"))
	if err != nil {
		return nil, nil, err
	}
	if err := s.errDraining(); err != nil {
		return nil, nil, err
	}
	limits, err := s.cfg.Keys.Admit(key, s.cfg.Now())
	limitHeaders(w.Header(), limits)
	if err != nil {
		return nil, nil, err
	}
	if kind, err := mediaType(r.Header.Get("Content-Type")); err != nil || kind != media {
		return nil, nil, &api.Error{Code: api.UnsupportedMedia, Message: "the Content-Type must be " + media}
	}
	encoded := func(e string) bool { return e != "" && !strings.EqualFold(e, "identity") }
	if slices.ContainsFunc(r.Header["Content-Encoding"], encoded) {
		return nil, nil, &api.Error{Code: api.UnsupportedMedia, Message: "a Content-Encoding is not accepted; send the body plain"}
	}
	if r.ContentLength > most {
		return nil, nil, tooLarge(most)
	}
	x := &exchange{s: s, w: w, r: r, ctx: r.Context(), path: path, key: key, began: s.cfg.Now()}
	// A connection without deadlines, such as one of a test, ends with its request all the same.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(x.began.Add(s.cfg.Body))
	from := r.Body
	if r.ContentLength < 0 { // the server reads no more than was announced
		from = http.MaxBytesReader(w, from, most)
	}
	body, err := readAll(from, r.ContentLength)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, nil, tooLarge(most)
	}
	if err != nil {
		return nil, nil, &api.Error{Code: api.InvalidJSON, Message: "the body did not arrive whole; send it again"}
	}
	_ = r.Body.Close() // or the server looks for the rest of it before it answers
	_ = control.SetReadDeadline(time.Time{})
	return x, body, nil
}

func tooLarge(most int64) error {
	return &api.Error{Code: api.RequestTooLarge, Message: fmt.Sprintf("the body exceeds %d bytes; send less context", most)}
}

const (
	jsonMedia   = "application/json"
	eventStream = "text/event-stream"
)

// mediaType is a Content-Type without its parameters.
func mediaType(value string) (string, error) {
	if value == jsonMedia || value == eventStream { // nearly always
		return value, nil
	}
	kind, _, err := mime.ParseMediaType(value)
	return kind, err
}

// readAll reads to the end, with room for what was announced: no more than a little of it is believed.
func readAll(from io.Reader, announced int64) ([]byte, error) {
	const least, most = 512, 1 << 20
	buf := make([]byte, 0, min(max(announced+1, least), most)) // the last one is for the end to be seen
	for {
		n, err := from.Read(buf[len(buf):cap(buf)])
		switch buf = buf[:len(buf)+n]; {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) == cap(buf):
			buf = slices.Grow(buf, cap(buf))
		}
	}
}

// refuseRequest answers what was not handed to a proxy.
func (s *Server) refuseRequest(w http.ResponseWriter, err error) {
	s.record.refused(s.cfg.Now())
	refuse(w, err)
}

func limitHeaders(h http.Header, l keys.Limits) {
	set := func(limit *keys.Limit, name string) {
		if limit != nil {
			h.Set("X-Ratelimit-Limit-"+name, strconv.FormatInt(limit.Limit, 10))
			h.Set("X-Ratelimit-Remaining-"+name, strconv.FormatInt(limit.Remaining, 10))
			h.Set("X-Ratelimit-Reset-"+name, limit.Reset.Round(time.Millisecond).String())
		}
	}
	set(l.Requests, "Requests")
	set(l.Tokens, "Tokens")
}

// run hands the request to a proxy, and to one more when the first failed before its first byte.
func (x *exchange) run() {
	const attempts = 2
	x.deadline = x.began.Add(x.req.Timeout)
	x.id, x.name = newName()
	x.s.record.begin()
	defer x.report()
	var tried []*upstream.Link
	problem := (*api.Error)(nil)
	for range attempts {
		link := x.s.cfg.Pool.Pick(x.req.Model, tried)
		if link == nil {
			break
		}
		err := x.attempt(link)
		if err == nil {
			return
		}
		if x.ctx.Err() != nil {
			x.outcome.status = statusCancelled
			return // nobody is there to answer
		}
		var t translation
		if problem, t = refusalOf(err); t.rest {
			link.Rest()
		}
		if x.committed || t.again == never || x.late() || problem.Code == api.Timeout && !x.early() {
			break
		}
		if t.again == elsewhere || x.s.cfg.Pool.Pick(x.req.Model, append(tried, link)) != nil {
			tried = append(tried, link)
		}
	}
	if problem == nil {
		problem = x.s.noProxy()
	}
	x.fail(problem)
}

// late says that the app has waited as long as it wanted to, and a little more.
func (x *exchange) late() bool { return !x.s.cfg.Now().Before(x.deadline.Add(grace)) }

// early says that enough of the deadline is left for another proxy, after one said that time was up (protocol.md section
// 8.1: such a proxy counted less of it than the app gave).
func (x *exchange) early() bool {
	const share = 4
	return x.deadline.Sub(x.s.cfg.Now()) > x.req.Timeout/share
}

// refusalOf is the error for the app, and what it says of another attempt.
func refusalOf(err error) (*api.Error, translation) {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e, translation{}
	}
	return translate(err)
}

// noProxy says why there is none to choose, of those that may be chosen: one that only finishes what it carries is none.
func (s *Server) noProxy() *api.Error {
	all := s.cfg.Pool.Links()
	if slices.ContainsFunc(all, (*upstream.Link).Indebted) {
		return &api.Error{Code: api.RateLimitExceeded, Message: "more answers than this gateway keeps wait for their receipts to come and be checked; try again shortly", RetryAfter: time.Second}
	}
	open := func(l *upstream.Link) bool { return l.Status().State != upstream.Refused }
	if len(all) > 0 && !slices.ContainsFunc(all, open) {
		return &api.Error{Code: api.VerificationFailed, Message: "no proxy could be verified, so nothing was sent; /readyz says why each was refused"}
	}
	return &api.Error{Code: api.NoProxy, Message: "no proxy is connected; /readyz says why", RetryAfter: time.Second}
}

// attempt hands the request to one proxy and brings the answer back. An error means that the app has no answer yet.
func (x *exchange) attempt(link *upstream.Link) error {
	if x.call != nil {
		x.id, x.name = newName() // the id of the attempt before is used up
	}
	began := x.s.cfg.Now()
	ask, err := x.ask(link, began)
	if err != nil {
		return err
	}
	if err := x.holding(ask); err != nil {
		return err
	}
	x.call, err = link.Start(x.ctx, ask)
	if err != nil {
		x.hold.Release()
		link.Report(true, 0)
		return err
	}
	x.s.running.handed()
	x.sent = ask.Body
	x.first = 0
	call := x.call
	err = x.relay()
	call.Close()
	failed := err != nil && x.ctx.Err() == nil && blames(err)
	link.Report(failed, min(x.first, x.s.cfg.Now().Sub(began)))
	x.settle(call)
	return err
}

// blames says that an error is the proxy's: a refusal that names the caller's fault is not.
func blames(err error) bool {
	e, _ := refusalOf(err)
	return e.Status() >= http.StatusInternalServerError
}

// ask makes the message. The app's bytes stay as they are for our proxies; a reference proxy gets what it can read.
func (x *exchange) ask(link *upstream.Link, now time.Time) (upstream.Ask, error) {
	remaining := x.deadline.Sub(now)
	if remaining <= 0 {
		return upstream.Ask{}, context.DeadlineExceeded
	}
	tokens := x.req.MaxTokens
	if tokens == 0 {
		tokens = defaultMaxTokens
	}
	a := upstream.Ask{
		ID: x.id, Path: x.path, ContentType: x.contentType, Model: x.req.Model, Body: x.body, Timeout: remaining, Until: x.deadline.Add(grace),
		MaxCoefficient: int32(x.req.MaxCoefficient), MaxTokens: int32(tokens), //nolint:gosec // the policy bounds both below 2^31
		Debug: x.req.Debug, Stream: x.req.Stream,
	}
	if x.req.Encrypted {
		key, err := promptcrypt.Receiver(x.req.Body())
		if err != nil {
			return a, &api.Error{Code: api.InvalidValue, Param: "receiver_public_key", Message: "must be an Ed25519 key in hex or base64"}
		}
		a.PublicKey = &key
	}
	x.emulate = false
	if version := link.Version(); version < upstream.ExtensionVersion && x.req.Endpoint != 0 {
		body, err := emulate.Body(x.req, emulate.Peer{Role: "proxy", Version: int32(version)}) //nolint:gosec // negotiated, 0..5
		if err != nil {
			return a, err
		}
		a.Body, a.Stream = body, false
		x.emulate = x.req.Stream
	}
	return a, nil
}

// relay brings the answer back.
func (x *exchange) relay() error {
	if x.req.Stream && !x.emulate {
		return x.stream()
	}
	return x.whole()
}

// write sends bytes to the app, which has a time to take them.
func (x *exchange) write(data []byte) error {
	control := http.NewResponseController(x.w)
	if now := x.s.cfg.Now(); now.Sub(x.armed) > writeSlack {
		_ = control.SetWriteDeadline(now.Add(writeTimeout)) // see SetReadDeadline in admit
		x.armed = now
	}
	if _, err := x.w.Write(data); err != nil {
		return fmt.Errorf("answering the app: %w", err)
	}
	if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("answering the app: %w", err)
	}
	return nil
}

// statusOf is how a request ended that an error ended.
func statusOf(e *api.Error) string {
	switch {
	case e.Code == api.Timeout:
		return statusDeadline
	case e.Code == api.Cancelled:
		return statusCancelled
	case mistaken(e.Status()):
		return statusRefused
	default:
		return statusFailed
	}
}

// mistaken says that a status is about the caller's mistake, which is no failure of those who serve.
func mistaken(status int) bool {
	return status < http.StatusInternalServerError && status != http.StatusTooManyRequests
}

// fail tells the app what went wrong: as an HTTP error, as an event of a stream that has begun, or, where neither can be,
// by breaking the connection, so that nothing broken looks whole.
func (x *exchange) fail(e *api.Error) {
	if x.call != nil || e.RequestID == "" {
		e.RequestID = x.name.request()
	}
	x.outcome.status, x.outcome.code = statusOf(e), e.Code
	if !x.committed {
		x.outcome.http = e.Status()
		e.Write(x.w)
		return
	}
	if x.streaming && x.write(errorEvent(e)) == nil {
		return
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // the only way to end an HTTP/1.1 answer as broken (pitfall 13)
}
