package proxy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/pricing"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/tests/golden"
)

func TestCacheSaltsOfTheVectors(t *testing.T) {
	var doc struct {
		Derive []struct {
			Note, Salt string
			ClientSC   string `json:"client_sc"`
			Secret     string `json:"user_secret"`
		}
	}
	golden.JSON(t, "inference/cache_salt.json", &doc)
	if len(doc.Derive) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range doc.Derive {
		if got := cacheSalt(v.ClientSC, v.Secret); got != v.Salt {
			t.Errorf("%s: %q, want %q", v.Note, got, v.Salt)
		}
	}
}

func TestRoutesAreForLongPromptsAndOneClient(t *testing.T) {
	p := newBench(t).p
	long := bytes.Repeat([]byte("x"), routedFrom)
	if p.routeKey("c", "s", long[:routedFrom-1]) != "" {
		t.Error("a short prompt has a route")
	}
	tail := append(bytes.Clone(long), "different end"...)
	if p.routeKey("c", "s", long) != p.routeKey("c", "s", tail) {
		t.Error("a common beginning has two routes")
	}
	seen := map[string]bool{p.routeKey("c", "s", long): true}
	for _, other := range []string{p.routeKey("d", "s", long), p.routeKey("c", "t", long), p.routeKey("cs", "", long), newBench(t).p.routeKey("c", "s", long)} {
		if seen[other] {
			t.Error("two routes are the same")
		}
		seen[other] = true
	}
}

func TestAddresses(t *testing.T) {
	const live = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k" // protocol.md section 3.4
	a, err := ParseAddress(live)
	if err != nil || a.String() != "0:a7b3b6d84a9d22805bd2d70a5be70b198c2282575f4c0f9015cc8e04cb1b2753" {
		t.Fatalf("%s, %v", a, err)
	}
	for _, form := range []string{a.String(), a.Friendly(false), a.Friendly(true), strings.NewReplacer("-", "+", "_", "/").Replace(live)} {
		if got, err := ParseAddress(form); err != nil || got != a {
			t.Errorf("%s: %s, %v", form, got, err)
		}
	}
	if !strings.HasPrefix(a.Friendly(false), "UQ") || !strings.HasPrefix(a.Friendly(true), "0Q") {
		t.Errorf("%s, %s", a.Friendly(false), a.Friendly(true))
	}
	for _, bad := range []string{"", "x", "0:", "0:zz", "300:" + strings.Repeat("0", 64), live[:47], live + "A", "FQ" + live[2:], live[:47] + "l", live + "=="} {
		if got, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is %s", bad, got)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k", address(1).String(), address(2).Friendly(true), "", "-1:" + strings.Repeat("f", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			return
		}
		for _, form := range []string{a.String(), a.Friendly(false)} {
			if again, err := ParseAddress(form); err != nil || again != a {
				t.Errorf("%q: %s, then %s, %v", text, a, again, err)
			}
		}
	})
}

func TestTheEndsOfAnAnswer(t *testing.T) {
	for name, tc := range map[string]struct{ body, id, finish string }{
		"a stream":                {first + second + done, "chatcmpl-1", "stop"},
		"a document":              {answer, "chatcmpl-1", "stop"},
		"with spaces":             {`{"id": "x", "choices": [{"finish_reason": "length"}]}`, "x", "length"},
		"after pings":             {": ping\n\n: ping\n\n" + first + second, "chatcmpl-1", "stop"},
		"the word in the content": {`{"id":"x","choices":[{"message":{"content":"\"finish_reason\":\"stop\""}}]}`, "x", ""},
		"a word of its own":       {`{"id":"x","choices":[{"finish_reason":"made up"}]}`, "x", ""},
		"a word and none":         {`{"id":"x","choices":[{"finish_reason":"stop"},{"finish_reason":null}]}`, "x", "stop"},
		"a word after another":    {`{"id":"x","choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}`, "x", "length"},
		"cut in the word":         {"{\"finish_reason\":\"sto", "", ""},
		"an id of markup":         {"{\"id\":\"a\\u0000b\"}", "", ""},
		"an id that is too long":  {`{"id":"` + strings.Repeat("x", 200) + `"}`, "", ""},
		"not JSON":                {"nonsense", "", ""},
		"a broken event":          {"data: {\n\n", "", ""},
		"nothing":                 {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 7, len(tc.body) + 1} {
				var l look
				for rest := tc.body; rest != ""; {
					n := min(step, len(rest))
					l.see([]byte(rest[:n]))
					rest = rest[n:]
				}
				if l.chatID() != tc.id || l.finish() != tc.finish || len(l.front) > lookBytes || len(l.tail) > lookBytes {
					t.Errorf("in steps of %d: %q, %q", step, l.chatID(), l.finish())
				}
				if events := int64(strings.Count(tc.body, "\n\n")); l.events != events {
					t.Errorf("in steps of %d: %d events, want %d", step, l.events, events)
				}
			}
		})
	}
	var l look
	l.see(bytes.Repeat([]byte("x"), 3*lookBytes))
	l.see([]byte(`"finish_reason":"stop"`))
	if l.finish() != "stop" || len(l.tail) != lookBytes || len(l.front) != lookBytes {
		t.Errorf("%q, %d, %d", l.finish(), len(l.tail), len(l.front))
	}
}

// TestALookAtAWholeAnswer: one that comes at once looks the same whether its memory is shared or not.
func TestALookAtAWholeAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": "", "short": answer, "events": first + second + done, "just too long": strings.Repeat("x", lookBytes),
		"long": strings.Repeat("a\n\n", lookBytes) + second,
	} {
		t.Run(name, func(t *testing.T) {
			var seen, shared look
			seen.see([]byte(body))
			shared.only([]byte(body))
			if !bytes.Equal(shared.front, seen.front) || !bytes.Equal(shared.tail, seen.tail) || shared.events != seen.events || shared.last != seen.last {
				t.Errorf("%d and %d bytes, %d events; want %d, %d and %d", len(shared.front), len(shared.tail), shared.events, len(seen.front), len(seen.tail), seen.events)
			}
		})
	}
}

func TestForwardingRewritesByCuttingOnly(t *testing.T) {
	p := newBench(t).p
	for name, tc := range map[string]struct {
		path, body string
		version    int32
		maxTokens  int32
		want       string
	}{
		"our worker": {
			"/v1/chat/completions", `{"model":"m", "messages":[{"role":"user","content":"é"}],"user":"u","max_coefficient":5 }`, 5, 100,
			`{"model":"m", "messages":[{"role":"user","content":"é"}] ,"max_tokens":100,"cache_salt":"` + cacheSalt("0:aa", "u") + `"}`,
		},
		"another's worker": {
			"/v1/chat/completions", `{"model":"m@c:r","messages":[{"role":"user","content":"x"}],"max_completion_tokens":7}`, 4, 100,
			`{"model":"m","messages":[{"role":"user","content":"x"}],"max_completion_tokens":7}`,
		},
		"both limits": {
			"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"max_completion_tokens":700,"max_tokens":600}`, 4, 100,
			`{"model":"m","messages":[{"role":"user","content":"x"}],"max_completion_tokens":100,"max_tokens":100}`,
		},
		"embeddings have no limit": {"/v1/embeddings", `{"model":"m","input":"x"}`, 4, 100, `{"model":"m","input":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := p.read(t.Context(), &ask{model: "m", query: query(tc.path, tc.body), maxTokens: tc.maxTokens})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(bytes.Join(j.forward(tc.version, cacheSalt("0:aa", j.in.RouteSecret)), nil)); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestHeadersOfThePathAreBounded(t *testing.T) {
	p := newBench(t).p
	for name, h := range map[string]tl.HTTPRequest{
		"a GET":            {Method: "GET", URL: "/v1/chat/completions", Payload: []byte(chat)},
		"too many headers": {Method: "POST", URL: "/v1/chat/completions", Payload: []byte(chat), Headers: make([]tl.HTTPHeader, maxHeaders+1)},
	} {
		if _, err := p.read(t.Context(), &ask{model: "demo/model", query: tl.Encode(&h), maxTokens: 1}); codeOf(err) != session.CodeProtocol {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, status := range []int32{-1, 0, 100, 199, 600, 1<<31 - 1} {
		if _, _, err := parseHead(tl.Encode(&tl.HTTPResponse{StatusCode: status})); err == nil {
			t.Errorf("a status of %d", status)
		}
	}
	raw := tl.Encode(&tl.HTTPResponse{StatusCode: 200, Headers: []tl.HTTPHeader{{Name: "X", Value: "a\r\nSet-Cookie: x"}, {Name: "A\nB", Value: "c"}, {Name: "Ok", Value: "v"}}})
	h, _, err := parseHead(raw)
	if err != nil || len(h.Headers) != 1 || h.Headers[0].Name != "Ok" {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestEveryErrorHasACodeAndAText(t *testing.T) {
	for err := range endings() {
		code, text := wireError(err)
		if code == 0 || text == "" || endingOf(err).inside == "" || endingOf(err).status == "" {
			t.Errorf("%v: %d %q", err, code, text)
		}
	}
	if code, text := wireError(errors.New("a secret of the inside")); code != 601 || strings.Contains(text, "secret") {
		t.Errorf("%d %q", code, text)
	}
	if _, text := wireError(&workerError{602, strings.Repeat("x", 10_000)}); len(text) != maxErrorText {
		t.Errorf("%d bytes of a worker's text", len(text))
	}
	if code, _ := wireError(refusedError{&api.Error{Code: api.InvalidJSON}}); code != 621 {
		t.Errorf("%d", code)
	}
}

// FuzzClientRequest: whatever a client sends as a request, it is refused with a code or becomes a job whose numbers are
// bounded.
func FuzzClientRequest(f *testing.F) {
	for _, m := range []tl.Object{
		run(1, chat), run(2, stream), run(3, sealed()), &tl.ClientRunQuery{ModelName: "demo/model", Query: query("/v1/completions", `{"model":"demo/model","prompt":"x","n":8}`), MaxTokens: -1},
		&tl.ClientRunQueryEx{ModelName: "m", Query: []byte("x"), Timeout: math.Inf(-1)}, &tl.ClientCancelQuery{},
	} {
		f.Add(tl.Encode(m))
	}
	p := plainProxy(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := tl.Parse(data)
		if err != nil {
			return
		}
		a := askOf(v)
		if err := a.check(math.MaxInt32); err != nil {
			if code, text := wireError(err); code != 621 || text == "" {
				t.Errorf("%d %q", code, text)
			}
			return
		}
		if d := a.within(api.MaxTimeout); d < 0 || d > api.MaxTimeout {
			t.Errorf("timeout %s", d)
		}
		j, err := p.read(t.Context(), &a)
		if err != nil {
			if code, _ := wireError(err); code == 0 || code == 601 {
				t.Errorf("code %d for %v", code, err)
			}
			return
		}
		m := pricing.Multipliers{Prompt: 10000, Cached: 10000, Completion: 10000, Reasoning: 10000}
		if held := j.reserve(&a, m); held < 0 || j.maxTokens < 1 || j.choices < 1 || j.need(&a, "c", nil, false).Tokens < 0 {
			t.Errorf("reserve %d, %d tokens, %d choices", held, j.maxTokens, j.choices)
		}
		for _, version := range []int32{0, 5} {
			body := bytes.Join(j.forward(version, cacheSalt("0:aa", "")), nil)
			if j.in == nil {
				continue
			}
			if bytes.Contains(body, []byte(`"max_coefficient"`)) && !bytes.Contains(j.in.Body().Raw(), []byte(`"max_coefficient"`)) {
				t.Errorf("forwarded %s", body)
			}
		}
	})
}

// TestAQueryIsWrittenAroundItsBody: of every size, in pieces or not, it is the encoding of the request, in one piece of memory.
func TestAQueryIsWrittenAroundItsBody(t *testing.T) {
	j := &job{path: "/v1/chat/completions", contentType: "application/json"}
	for _, n := range []int{0, 1, 2, 3, 4, 252, 253, 254, 255, 256, 257, 1 << 16, 1<<16 + 1} {
		body := bytes.Repeat([]byte("x"), n)
		for _, version := range []int32{versionKeys, versionOurs} {
			query, inside := j.query([][]byte{body[:n/3], body[n/3 : n/2], body[n/2:]}, [32]byte{7}, version)
			want := &tl.HTTPRequest{Method: "POST", URL: j.path, HTTPVersion: "HTTP/1.1", Payload: body, Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: j.contentType}}}
			if version >= versionOurs {
				want.Headers = append(want.Headers, tl.HTTPHeader{Name: headerID, Value: "07" + strings.Repeat("00", 31)})
			}
			if !bytes.Equal(query, tl.Encode(want)) || !bytes.Equal(inside, body) || cap(query) > len(query)+8 {
				t.Errorf("%d bytes for version %d: %x, inside %x, room for %d", n, version, query, inside, cap(query))
			}
		}
	}
}

// TestWhatGoesOnBeginsAsItCame: as far as nothing was changed, and no further.
func TestWhatGoesOnBeginsAsItCame(t *testing.T) {
	p := plainProxy(t)
	for name, tc := range map[string]struct {
		body string
		want int
	}{
		"only an addition":  {`{"model":"demo/model","messages":[{"content":"x"}],"max_tokens":5}`, len(`{"model":"demo/model","messages":[{"content":"x"}],"max_tokens":`)},
		"a cut in the end":  {`{"model":"demo/model","messages":[{"content":"x"}],"user":"a"}`, len(`{"model":"demo/model","messages":[{"content":"x"}]`)},
		"a cut at the head": {`{"user":"a","model":"demo/model","messages":[{"content":"x"}]}`, 1},
	} {
		j, err := p.read(t.Context(), &ask{model: "demo/model", query: query("/v1/chat/completions", tc.body), maxTokens: 9})
		if err != nil {
			t.Fatal(err)
		}
		pieces := j.forward(versionOurs, cacheSalt("0:aa", ""))
		if n := j.common(pieces); n != tc.want || !bytes.HasPrefix(bytes.Join(pieces, nil), []byte(tc.body[:n])) {
			t.Errorf("%s: %d bytes, want %d: %q", name, n, tc.want, pieces)
		}
		if n := j.common([][]byte{bytes.Clone(j.body)}); n != 0 {
			t.Errorf("%s: %d bytes of a copy", name, n)
		}
	}
}

func plainProxy(tb testing.TB) *Proxy {
	tb.Helper()
	owner := address(1)
	chain := &Pseudo{Owner: owner}
	p, err := New(Config{Owner: owner, Contract: owner, Test: true}, depsOf(tb, chain))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// FuzzWorkerMessage: no message of a worker ends more than its own attempt.
func FuzzWorkerMessage(f *testing.F) {
	info := usedOf(1, 2, 3, 4)
	for _, m := range []tl.Object{
		&tl.ProxyQueryAnswerEx{Answer: headOf(200, "a", "b"), FinalInfo: info}, &tl.ProxyQueryAnswerPartEx{Answer: []byte("x")},
		&tl.ProxyQueryAnswerErrorEx{ErrorCode: -5, Error: "x"}, &tl.ProxyQueryAnswer{Answer: []byte{1, 2}}, &tl.ProxyQueryStatement{Status: 99},
		&tl.ProxyQueryAnswerPartError{ErrorCode: 1 << 30},
	} {
		f.Add(tl.Encode(m))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := tl.Parse(data)
		if err != nil {
			return
		}
		_, e, ok := eventOf(v)
		if !ok {
			return
		}
		if e.kind == evHead {
			if h, _, err := parseHead(e.data); err == nil && (h.StatusCode < 200 || h.StatusCode > 599 || h.Payload != nil) {
				t.Errorf("head %+v", h)
			}
		}
		if e.kind == evError && e.info == nil {
			t.Error("an error that does not end its request")
		}
		if e.info == nil {
			return
		}
		for _, version := range []int32{0, 4, 5} {
			n, _ := counted(version, e.info.TokensUsed, 1000, pricing.Multipliers{Prompt: 10000, Cached: 1, Completion: 0, Reasoning: 1 << 30})
			if n.Prompt < 0 || n.Cached < 0 || n.Completion < 0 || n.Reasoning < 0 || n.Cached > n.Prompt || n.Reasoning > n.Completion {
				t.Errorf("counts %s", hex.EncodeToString(data))
			}
		}
	})
}

// TestSecondsHaveSixDecimals: as a number in Unix seconds is written with six.
func TestSecondsHaveSixDecimals(t *testing.T) {
	for _, at := range []time.Time{
		{}, time.Unix(0, 0), time.Unix(1, 0), time.Unix(1, 1000), time.Unix(1_700_000_000, 999_999_999), time.Unix(1_795_325_042, 50_000), time.Unix(4_000_000_000, 123_456_789),
	} {
		if got, want := seconds(at), strconv.FormatFloat(unix(at), 'f', 6, 64); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := seconds(time.Unix(-1, 0)); got != "0.000000" {
		t.Errorf("before 1970: %s", got)
	}
}
