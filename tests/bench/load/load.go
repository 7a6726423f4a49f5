package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	path     = "/v1/chat/completions"
	readSize = 16 << 10
	// patience bounds a dial, and an answer's end after the measured time.
	patience = 20 * time.Second
)

// Spec is one kind of load. All fields but Stream are needed.
type Spec struct {
	// Address is host:port of what is asked, Model what it is asked for.
	Address, Model string
	// Clients ask at the same time, each the next question when the last is answered. With Every each asks that often, in
	// turn with the others: a question that is due while the last is under way waits, and its time counts from when it was
	// due, so that a stall is charged to all whom it delays.
	Clients int
	Every   time.Duration
	// Stream asks for events. Prompt is about how many bytes a question has.
	Stream bool
	Prompt int
	// Warm is how long clients ask before Measure, the time that counts.
	Warm, Measure time.Duration
}

// Result is what clients saw in the measured time.
type Result struct {
	Elapsed time.Duration
	// Requests counts answers that ended in the time, Events the events that came, Writes in how many chunks they did.
	Requests, Events, Writes int64
	// Broken counts answers whose bytes were not the engine's, Refused those with another status, over the whole run.
	Broken, Refused int64
	// Why is the first of both, in words.
	Why string
	// P50 and P99 are how long answers took.
	P50, P99 time.Duration
}

// count is what clients have seen so far.
type count struct{ requests, events, writes int64 }

// run is one load under way.
type run struct {
	spec     Spec
	question []byte
	answers  answers
	stream   []byte // all events in a row
	ends     []int  // where each event ends in stream

	requests, events, writes, broken, refused atomic.Int64
	counting                                  atomic.Bool

	buffers sync.Pool // of *[readSize]byte, what bodies are read into

	mu    sync.Mutex
	times []time.Duration
	why   string
}

// Run asks until the measured time is over. at is called when that begins and when it ends, while clients go on.
func Run(ctx context.Context, spec Spec, at func()) (Result, error) {
	r := &run{spec: spec, question: question(spec), answers: newAnswers()}
	for _, e := range r.answers.events {
		r.stream = append(r.stream, e...)
		r.ends = append(r.ends, len(r.stream))
	}
	asking, stop := context.WithTimeout(ctx, spec.Warm+spec.Measure+patience)
	defer stop()
	over := make(chan struct{})
	var clients sync.WaitGroup
	start := time.Now()
	for i := range spec.Clients {
		turn := start.Add(spec.Every * time.Duration(i) / time.Duration(spec.Clients))
		clients.Go(func() { r.client(asking, over, turn) })
	}
	wait(asking, spec.Warm)
	r.counting.Store(true)
	at()
	began, before := time.Now(), r.now()
	wait(asking, spec.Measure)
	at()
	after, elapsed := r.now(), time.Since(began)
	r.counting.Store(false)
	close(over)
	if spec.Stream { // a slow stream is not waited for: we cut it, and it counts for nothing
		stop()
	}
	clients.Wait()
	out := Result{
		Elapsed: elapsed, Requests: after.requests - before.requests, Events: after.events - before.events, Writes: after.writes - before.writes,
		Broken: r.broken.Load(), Refused: r.refused.Load(), Why: r.why,
	}
	if slices.Sort(r.times); len(r.times) > 0 {
		out.P50, out.P99 = r.times[len(r.times)/2], r.times[len(r.times)*99/100]
	}
	return out, ctx.Err()
}

func (r *run) now() count { return count{r.requests.Load(), r.events.Load(), r.writes.Load()} }

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// question is a request as it goes over the wire.
func question(spec Spec) []byte {
	const word = "hello world "
	prompt := strings.Repeat(word, max(spec.Prompt/len(word), 1))
	options := ""
	if spec.Stream {
		options = `"stream":true,"stream_options":{"include_usage":true},`
	}
	body := fmt.Sprintf(`{"model":%q,%s"messages":[{"role":"user","content":%q}],"max_tokens":100}`, spec.Model, options, prompt)
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n%s",
		path, spec.Address, len(body), body)
}

// errRefused is an answer with another status than 200.
var errRefused = errors.New("refused")

// client asks until over is closed, on one connection as long as it holds; the first question is due at due.
func (r *run) client(ctx context.Context, over <-chan struct{}, due time.Time) {
	var c connection
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	for until(ctx, over, due) {
		conn, err := c.get(ctx, r.spec.Address)
		if err != nil {
			r.note(ctx, err)
			return
		}
		if r.spec.Every == 0 {
			due = time.Now()
		}
		keep, err := r.ask(conn, c.in)
		if err != nil {
			r.note(ctx, err)
		} else if r.counting.Load() {
			r.took(time.Since(due))
		}
		if !keep {
			c.close()
		}
		due = due.Add(r.spec.Every)
	}
}

// until waits for a moment, unless the load is over before.
func until(ctx context.Context, over <-chan struct{}, due time.Time) bool {
	if left := time.Until(due); left > 0 {
		t := time.NewTimer(left)
		defer t.Stop()
		select {
		case <-over:
		case <-ctx.Done():
		case <-t.C:
		}
	}
	select {
	case <-over:
		return false
	case <-ctx.Done():
		return false
	default:
		return true
	}
}

// connection is a client's, one at a time. It may be closed from another goroutine.
type connection struct {
	in *bufio.Reader // the client's alone

	mu   sync.Mutex
	conn net.Conn // nil when there is none
}

// get is the connection, a new one where there is none.
func (c *connection) get(ctx context.Context, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn, nil
	}
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, readSize)
	return conn, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (r *run) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, d)
}

// note counts what went wrong, unless we ended it.
func (r *run) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, errRefused) {
		r.refused.Add(1)
	} else {
		r.broken.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == "" {
		r.why = err.Error()
	}
}

// ask asks once and compares the answer. keep says that the connection can be used again.
func (r *run) ask(conn net.Conn, in *bufio.Reader) (keep bool, err error) {
	if _, err := conn.Write(r.question); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close() //nolint:errcheck // read side
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, readSize))
		return false, fmt.Errorf("%w: status %d: %.300s", errRefused, res.StatusCode, body)
	}
	want := r.answers.whole
	if r.spec.Stream {
		want = r.stream
	}
	if err := r.compare(res.Body, want); err != nil {
		return false, err
	}
	r.requests.Add(1)
	return !res.Close, nil
}

// compare reads a body to its end.
func (r *run) compare(body io.Reader, want []byte) error {
	buf, ok := r.buffers.Get().(*[readSize]byte)
	if !ok {
		buf = new([readSize]byte)
	}
	defer r.buffers.Put(buf)
	at, event := 0, 0
	for {
		n, err := body.Read(buf[:])
		if n > len(want)-at || !bytes.Equal(buf[:n], want[at:at+n]) {
			return fmt.Errorf("the answer differs within %d bytes behind byte %d", n, at)
		}
		at += n
		if r.spec.Stream && n > 0 {
			before := event
			for event < len(r.ends) && r.ends[event] <= at {
				event++
			}
			r.events.Add(int64(event - before))
			r.writes.Add(1)
		}
		if errors.Is(err, io.EOF) {
			if at != len(want) {
				return fmt.Errorf("the answer is called whole after %d bytes of %d", at, len(want))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("the answer breaks off after %d bytes of %d: %w", at, len(want), err)
		}
	}
}
