package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3/option"

	"cocoon/guest/worker/engine/enginetest"
	"cocoon/host/gateway/keys"
)

// refusal is an error of inference.md section 5.1 as an SDK meets it.
type refusal struct {
	ask func(ctx context.Context, s *goSDK) error
	// status, code and param are what the error object says, attempts how often the SDK asked by its own rules.
	status      int
	code, param string
	attempts    int64
}

// asking sends a chat request with more fields, by their JSON names.
func asking(text string, fields map[string]any) func(context.Context, *goSDK) error {
	return func(ctx context.Context, s *goSDK) error {
		more := make([]option.RequestOption, 0, len(fields))
		for name, value := range fields {
			more = append(more, option.WithJSONSet(name, value))
		}
		_, err := s.Chat.Completions.New(ctx, s.says(text), more...)
		return err
	}
}

// expect checks one refusal, and what the SDK did about it.
func (r *refusal) expect(t *testing.T, s goSDK) {
	t.Helper()
	err := r.ask(t.Context(), &s)
	e := apiError(err)
	if e == nil {
		t.Fatalf("no error of the API: %v", err)
	}
	if e.StatusCode != r.status || e.Code != r.code || e.Param != r.param || e.Message == "" || e.Type == "" {
		t.Errorf("status %d, %s", e.StatusCode, e.RawJSON())
	}
	if got := s.attempts.Load(); got != r.attempts {
		t.Errorf("the SDK asked %d times, wanted %d", got, r.attempts)
	}
	if strings.Contains(e.RawJSON(), canary) {
		t.Error("the error quotes the prompt")
	}
}

// once is for what a retry cannot mend: the status says so, or x-should-retry.
func once() map[string]refusal {
	const unlisted = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	get := func(path string) func(context.Context, *goSDK) error {
		return func(ctx context.Context, s *goSDK) error { return s.Get(ctx, path, nil, nil) }
	}
	return map[string]refusal{
		"negative max_tokens":   {asking("hi", map[string]any{"max_tokens": -1}), 400, "invalid_value", "max_tokens", 1},
		"wrong type":            {asking("hi", map[string]any{"temperature": "warm"}), 400, "invalid_value", "temperature", 1},
		"refused field":         {asking("hi", map[string]any{"logits_processors": []string{"x"}}), 400, "unsupported_parameter", "logits_processors", 1},
		"kept answers":          {asking("hi", map[string]any{"store": true}), 400, "unsupported_value", "store", 1},
		"picture by address":    {asking("hi", map[string]any{"messages": remotePicture()}), 400, "remote_media_refused", "messages", 1},
		"context too long":      {asking("fault:context ", nil), 400, "context_length_exceeded", "", 1},
		"price cap":             {asking("hi", map[string]any{"max_coefficient": 1}), 400, "price_limit_exceeded", "max_coefficient", 1},
		"engine refuses":        {asking("fault:status-400 ", nil), 400, "invalid_value", "", 1},
		"more than the channel": {asking("hi", map[string]any{"max_coefficient": 999_999_999, "max_tokens": 1<<31 - 1}), 402, "insufficient_quota", "", 1},
		"unknown model":         {asking("hi", map[string]any{"model": "no/such"}), 404, "model_not_found", "", 1},
		"model of a retrieval":  {get("models/no/such"), 404, "model_not_found", "model", 1},
		"unknown path":          {get("assistants"), 404, "unknown_url", "", 1},
		"wrong method":          {get("chat/completions"), 405, "method_not_allowed", "", 1},
		"pinned session":        {asking("hi", map[string]any{"provider": map[string]any{"aci_session_ids": []string{unlisted}}}), 412, "", "", 1},
		"large body":            {asking(strings.Repeat("x", 11<<20), nil), 413, "request_too_large", "", 1},
		"wrong content type": {func(ctx context.Context, s *goSDK) error {
			_, err := s.Chat.Completions.New(ctx, s.says("hi"), option.WithHeader("Content-Type", "text/plain"))
			return err
		}, 415, "unsupported_media_type", "", 1},
	}
}

func remotePicture() any {
	var out any
	_ = json.Unmarshal([]byte(`[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://192.0.2.1/a.png"}}]}]`), &out)
	return out
}

// TestTheGoSDKDoesNotRepeatWhatIsFinal: every class of error that a retry cannot mend is met once.
func TestTheGoSDKDoesNotRepeatWhatIsFinal(t *testing.T) {
	n, whole := withSDK(t)
	for name, r := range once() {
		t.Run(name, func(t *testing.T) { r.expect(t, newSDK(n.url, base, "none", whole.engine, n.client.Transport)) })
	}
}

// TestTheGoSDKRepeatsWhatMayPass: by its own rule the SDK asks three times.
func TestTheGoSDKRepeatsWhatMayPass(t *testing.T) {
	for name, r := range map[string]refusal{
		"engine fails":     {asking("fault:status-500 ", nil), 502, "engine_error", "", 3},
		"engine is busy":   {asking("fault:status-429 ", nil), 429, "rate_limit_exceeded", "", 3},
		"deadline":         {asking("fault:hang-head ", map[string]any{"timeout": 0.2}), 504, "timeout", "", 3},
		"answer is broken": {asking("fault:not-json ", nil), 502, "engine_error", "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, s := withSDK(t) // of its own: the breaker opens after three failures
			r.expect(t, s)
		})
	}
}

// TestTheGoSDKMeetsTheKeysOfAGateway: 401 and 402 at once, 429 as long as the limit says.
func TestTheGoSDKMeetsTheKeysOfAGateway(t *testing.T) {
	entry := func(key, limits string) string {
		sum := sha256.Sum256([]byte(key))
		return fmt.Sprintf(`{"name":%q,"sha256":%q%s}`, key, hex.EncodeToString(sum[:]), limits)
	}
	book, err := keys.Parse([]byte(`{"keys":[` + entry("good", "") + `,` + entry("small", `,"tokens_per_day":16`) + `,` + entry("slow", `,"requests_per_minute":120`) + `]}`))
	check(t, err)
	n := start(t, options{keys: book})
	engine := new(sdkEngine)
	answer := engine.serve
	n.workers[0].before.Store(&answer)
	with := func(key string) goSDK { return newSDK(n.url, base, key, engine, n.client.Transport) }

	hi := asking("hi", nil)
	unknown := refusal{hi, 401, "invalid_api_key", "", 1}
	unknown.expect(t, with("other"))
	good, small, slow := with("good"), with("small"), with("slow")
	check(t, hi(t.Context(), &good))
	check(t, hi(t.Context(), &small)) // sixteen tokens
	n.billed(2)
	spent := refusal{hi, 402, "key_budget_exceeded", "", 1}
	n.until("the budget is spent", func() bool {
		s := with("small")
		return apiError(hi(t.Context(), &s)) != nil
	})
	spent.expect(t, with("small"))
	const atOnce, most = 120, 2000 // what the key allows at once; two more come each second, which a slow machine may use
	served := int64(0)
	for ; slow.attempts.Load() == served && served < most; served++ { // until the SDK has waited as long as it was told
		check(t, hi(t.Context(), &slow))
	}
	if got := slow.attempts.Load(); served <= atOnce || got <= served || got > served+2 {
		t.Errorf("%d requests took %d attempts", served, got)
	}
}

// TestTheGoSDKHearsOfABrokenStream: a stream that breaks is an error of the SDK's, with its code, and is not repeated.
func TestTheGoSDKHearsOfABrokenStream(t *testing.T) {
	n, whole := withSDK(t)
	for fault, code := range map[string]string{
		"cut-after-tokens": "engine_truncated", "error-event": "engine_error", "finish-abort": "engine_abort", "no-finish": "engine_truncated", "usage-twice": "malformed_event",
	} {
		t.Run(fault, func(t *testing.T) {
			s := newSDK(n.url, base, "none", whole.engine, n.client.Transport)
			stream := s.Chat.Completions.NewStreaming(t.Context(), s.says("fault:"+fault+" "))
			defer stream.Close() //nolint:errcheck // read side
			for stream.Next() {
				_ = stream.Current()
			}
			if err := stream.Err(); err == nil || !strings.Contains(fmt.Sprintf("%v %+v", err, apiError(err)), code) {
				t.Errorf("the stream ended with %v, wanted %s", err, code)
			}
			if s.attempts.Load() != 1 {
				t.Errorf("%d attempts", s.attempts.Load())
			}
			check(t, asking("hi", nil)(t.Context(), &s)) // and the breaker stays closed
		})
	}
}

// TestTheGoSDKAborts: whoever stops listening, by context, by timeout or by closing the stream, frees the engine's slot
// within a second.
func TestTheGoSDKAborts(t *testing.T) {
	n, whole := withSDK(t)
	fake := n.workers[0].fake
	stream := func(ctx context.Context, s *goSDK, enough func()) error {
		got := s.Chat.Completions.NewStreaming(ctx, s.says("fault:endless "))
		for seen := 0; got.Next(); seen++ {
			if seen == 3 {
				enough()
			}
		}
		return got.Err()
	}
	for name, abort := range map[string]func(ctx context.Context, s *goSDK) error{
		"stream, by context": func(ctx context.Context, s *goSDK) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return stream(ctx, s, cancel)
		},
		"stream, by closing it": func(ctx context.Context, s *goSDK) error {
			got := s.Chat.Completions.NewStreaming(ctx, s.says("fault:endless "))
			if !got.Next() {
				return errors.New("nothing came")
			}
			check(t, got.Close())
			return context.Canceled
		},
		"whole answer, by context": func(ctx context.Context, s *goSDK) error {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				defer cancel()
				reached(ctx, fake)
			}()
			_, err := s.Chat.Completions.New(ctx, s.says("fault:hang-head "))
			return err
		},
		"whole answer, by the SDK's timeout": func(ctx context.Context, s *goSDK) error {
			_, err := s.Chat.Completions.New(ctx, s.says("fault:hang-head "), option.WithRequestTimeout(200*time.Millisecond), option.WithMaxRetries(0))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSDK(n.url, base, "none", whole.engine, n.client.Transport)
			err := abort(t.Context(), &s)
			left := time.Now()
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("it ended with %v", err)
			}
			n.within(soon, "the engine's slot is free", func() bool { return fake.Active.Load() == 0 })
			t.Logf("free after %s", time.Since(left).Round(time.Millisecond))
			if got := s.attempts.Load(); got != 1 {
				t.Errorf("%d attempts", got)
			}
		})
	}
}

// reached waits until the engine works on something.
func reached(ctx context.Context, fake *enginetest.Engine) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for fake.Active.Load() == 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// TestTheGoSDKIsToldThatNobodyServes: the worker's engine is down, which no retry of the SDK's would mend in time.
func TestTheGoSDKIsToldThatNobodyServes(t *testing.T) {
	n, s := withSDK(t)
	n.workers[0].fake.SetHealthy(false)
	n.until("the proxy has heard that the engine is down", func() bool {
		e := apiError(asking("hi", nil)(t.Context(), &s))
		return e != nil && e.Code == "no_workers"
	})
	s.attempts.Store(0)
	down := refusal{asking("hi", nil), http.StatusServiceUnavailable, "no_workers", "", 1}
	down.expect(t, s)
}
