package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/tests/golden"
)

// row is one line of field_policy.json.
type row struct {
	Field     string `json:"field"`
	Endpoints string `json:"endpoints"`
	Action    string `json:"action"`
	Check     string `json:"check"`
	ErrorCode Code   `json:"error_code"`
}

// TestTheTableIsTheSpecifications: every row of the vectors is here with its endpoints, action and code, and no other.
func TestTheTableIsTheSpecifications(t *testing.T) {
	var doc struct {
		Fields []row `json:"fields"`
	}
	golden.JSON(t, "inference/field_policy.json", &doc)
	ours := fields()
	for _, want := range doc.Fields {
		got, ok := ours[want.Field]
		if !ok {
			t.Errorf("%s is missing", want.Field)
			continue
		}
		delete(ours, want.Field)
		if name := []string{"forward", "rewrite", "consume", "reject"}[got.action]; name != want.Action {
			t.Errorf("%s: action %s, want %s", want.Field, name, want.Action)
		}
		if names := endpointNames(got.endpoints); names != want.Endpoints {
			t.Errorf("%s: endpoints %s, want %s", want.Field, names, want.Endpoints)
		}
		if want.ErrorCode != "" && got.action != reject && got.code != want.ErrorCode {
			t.Errorf("%s: code %s, want %s", want.Field, got.code, want.ErrorCode)
		}
		if want.Check != "" && got.action != reject && got.check == nil {
			t.Errorf("%s has no check; the rule is %q", want.Field, want.Check)
		}
	}
	for name := range ours {
		t.Errorf("%s stands in our table alone", name)
	}
}

func endpointNames(ep Endpoint) string {
	var out []string
	for i, name := range []string{"chat", "completions", "embeddings", "responses"} {
		if ep&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ",")
}

// base is the smallest body that an endpoint accepts, and its endpoint.
func base(ep Endpoint) map[string]string {
	switch ep {
	case Chat:
		return map[string]string{"model": `"m"`, "messages": `[{"role":"user","content":"hi"}]`}
	case Completions:
		return map[string]string{"model": `"m"`, "prompt": `"hi"`}
	default:
		return map[string]string{"model": `"m"`, "input": `"hi"`}
	}
}

// with makes a body of the base and more members.
func with(ep Endpoint, members map[string]string) []byte {
	all := base(ep)
	maps.Copy(all, members)
	var parts []string
	for k, v := range all {
		parts = append(parts, fmt.Sprintf("%q:%s", k, v))
	}
	slices.Sort(parts)
	return []byte("{" + strings.Join(parts, ",") + "}")
}

func first(ep Endpoint) Endpoint { return ep & -ep }

func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// TestAPromptIsEstimatedByItsText: a quarter of its bytes, and pictures and sound are no text, however they are nested.
func TestAPromptIsEstimatedByItsText(t *testing.T) {
	url := `{"url":"` + picture() + `"}`
	for name, tc := range map[string]struct {
		ep          Endpoint
		field, body string
		text        int
	}{
		"text":    {Chat, "messages", `[{"role":"user","content":"0123456789"}]`, 40},
		"picture": {Chat, "messages", `[{"content":[{"type":"image_url","image_url":` + url + `}]}]`, 51},
		"sound":   {Chat, "messages", `[{"content":[{"input_audio":{"data":"` + strings.Repeat("A", 4000) + `","format":"wav"}}]}]`, 32},
		"nested":  {Chat, "messages", `[{"content":[{"image_url":{"url":"` + picture() + `","file_data":"` + picture() + `"}},"abcd"]}]`, 39},
		"prompt":  {Completions, "prompt", `"input_audio, image_url"`, 24},
		"input":   {Responses, "input", `[{"type":"input_image","image_url":"` + picture() + `"}]`, 37},
	} {
		r, err := NewPolicy(Limits{}).Read(tc.ep, []byte(`{"model":"m","`+tc.field+`":`+tc.body+`}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := r.PromptTokens(); got != int64(tc.text+3)/4 {
			t.Errorf("%s: %d tokens, want those of %d bytes", name, got, tc.text)
		}
	}
}

// TestEveryPromptHasAnswersOfItsOwn: what bounds and bills the answers counts them for each prompt, encrypted or not.
func TestEveryPromptHasAnswersOfItsOwn(t *testing.T) {
	sealed := `,"is_encrypted":"v1","sender_public_key":"a","receiver_public_key":"b","encryption_nonce":"c"`
	for body, want := range map[string]int64{
		`{"model":"m","prompt":"a"}`:                                                   1,
		`{"model":"m","prompt":[1,2,3],"n":2}`:                                         2,
		`{"model":"m","n":2,"prompt":["a","b","c"]}`:                                   6,
		`{"model":"m","prompt":[[1,2],[3]],"n":null}`:                                  2,
		`{"model":"m","prompt":["ENC_00","ENC_01"],"n":2` + sealed + "}":               4,
		`{"model":"m","prompt":[` + strings.Repeat(`"",`, maxPrompts-1) + `""],"n":8}`: 8 * maxPrompts,
		`{"model":"m","prompt":[` + strings.Repeat(`"",`, maxPrompts) + `""]}`:         0,
	} {
		r, err := NewPolicy(Limits{}).Read(Completions, []byte(body))
		if refused, ok := errors.AsType[*Error](err); want == 0 {
			if !ok || refused.Param != "prompt" {
				t.Errorf("%.60s: %v", body, err)
			}
			continue
		}
		if err != nil || r.N != want {
			t.Errorf("%.60s: %+v, %v", body, r, err)
		}
	}
}

// TestEveryFieldAcceptsAndRefuses: one accepted and one refused value for each field that has a check.
func TestEveryFieldAcceptsAndRefuses(t *testing.T) {
	hex64 := strings.Repeat("0a", 32)
	cases := map[string]struct {
		good, bad []string
	}{
		"messages": {
			[]string{`[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + picture() + `"}}]}]`, `[{"content":"see http://x/"}]`},
			[]string{`[]`, `"x"`, `null`},
		},
		"prompt":                {[]string{`["a","b"]`, `[1,2]`, `[[1],[2]]`}, []string{`[]`, `[1,"a"]`, `{}`, `[-1]`, `[[1.5]]`, `null`}},
		"input":                 {[]string{`["a"]`, `[{"role":"user"}]`}, []string{`""`, `[]`, `1`, `null`}},
		"model":                 {[]string{`"Qwen/Qwen3@c:ff"`}, []string{`""`, `1`, `"a b"`, `"a\n"`, `null`, `"` + strings.Repeat("x", 257) + `"`}},
		"stream":                {[]string{`true`, `null`}, []string{`1`, `"true"`}},
		"temperature":           {[]string{`0`, `2`, `0.7`}, []string{`-0.1`, `2.1`, `"1"`}},
		"top_p":                 {[]string{`0`, `1`}, []string{`1.01`, `-1`}},
		"top_k":                 {[]string{`-1`, `100000`}, []string{`-2`, `100001`, `1.0`}},
		"min_p":                 {[]string{`0.5`}, []string{`2`}},
		"frequency_penalty":     {[]string{`-2`, `2`}, []string{`-2.1`}},
		"presence_penalty":      {[]string{`2`}, []string{`3`}},
		"repetition_penalty":    {[]string{`0.1`, `10`}, []string{`0`, `10.1`}},
		"stop":                  {[]string{`"x"`, `["a","b"]`}, []string{`1`, `[1]`, `["` + strings.Repeat("x", 1025) + `"]`, `[` + strings.Repeat(`"",`, 16) + `""]`}},
		"stop_token_ids":        {[]string{`[1]`}, []string{`["a"]`, `1`, `[` + strings.Repeat(`1,`, 64) + `1]`}},
		"min_tokens":            {[]string{`0`}, []string{`-1`, `1.0`}},
		"ignore_eos":            {[]string{`false`}, []string{`true`, `0`}},
		"skip_special_tokens":   {[]string{`true`}, []string{`0`}},
		"seed":                  {[]string{`-5`}, []string{`1.5`, `"1"`}},
		"logit_bias":            {[]string{`{"5":-100}`}, []string{`{"5":101}`, `{"a":1}`, `[]`}},
		"logprobs":              {[]string{`true`}, []string{`21`, `"x"`}},
		"top_logprobs":          {[]string{`20`}, []string{`21`}},
		"tools":                 {[]string{`[{"type":"function","function":{"name":"f"}}]`, `[]`}, []string{`[{"type":"web_search"}]`, `{}`, `[` + strings.Repeat(`{"type":"function"},`, 128) + `{"type":"function"}]`}},
		"response_format":       {[]string{`{"type":"json_schema","json_schema":{}}`}, []string{`{"type":"grammar"}`, `"text"`}},
		"reasoning_effort":      {[]string{`"high"`}, []string{`1`, `"` + strings.Repeat("x", 33) + `"`}},
		"verbosity":             {[]string{`"low"`}, []string{`{}`}},
		"modalities":            {[]string{`["text"]`}, []string{`["text","audio"]`, `[]`}},
		"chat_template_kwargs":  {[]string{`{"enable_thinking":false}`}, []string{`{"x":true}`, `{"thinking":1}`, `[]`}},
		"include":               {[]string{`["reasoning.encrypted_content"]`}, []string{`["file_search_call.results"]`, `"x"`, `[1]`}},
		"n":                     {[]string{`8`}, []string{`9`, `0`, `-1`, `1.0`}},
		"best_of":               {[]string{`1`}, []string{`2`}},
		"max_tokens":            {[]string{`1`, `2147483647`}, []string{`0`, `-1`, `2147483648`, `1.5`, `"1"`}},
		"max_completion_tokens": {[]string{`1`}, []string{`0`, `-1000000`}},
		"max_output_tokens":     {[]string{`1`}, []string{`0`}},
		"stream_options":        {[]string{`{"include_usage":true}`}, []string{`{"x":true}`, `{"include_usage":1}`, `true`}},
		"max_coefficient":       {[]string{`1`, `999999999`}, []string{`0`, `-1`, `1000000000`}},
		"timeout":               {[]string{`0.5`, `3600`}, []string{`0`, `-1`, `3600.1`, `"1"`}},
		"enable_debug":          {[]string{`false`}, []string{`true`, `1`}},
		"request_guid":          {[]string{`"` + hex64 + `"`}, []string{`"0a"`, `1`}},
		"user":                  {[]string{`"u"`}, []string{`1`, `"` + strings.Repeat("x", 513) + `"`}},
		"safety_identifier":     {[]string{`"u"`}, []string{`1`}},
		"prompt_cache_key":      {[]string{`"u"`}, []string{`1`}},
		"metadata":              {[]string{`{"a":"b"}`}, []string{`{"a":1}`, `[]`}},
		"service_tier":          {[]string{`"auto"`}, []string{`"flex"`, `1`}},
		"store":                 {[]string{`false`}, []string{`true`, `0`}},
		"provider":              {[]string{`{"aci_verified":true,"aci_session_ids":["` + hex64 + `"],"x":1}`}, []string{`{"aci_x":1}`, `{"aci_session_ids":[]}`, `{"aci_session_ids":["` + strings.ToUpper(hex64) + `"]}`, `1`}},
		"is_encrypted":          {nil, []string{`"v2"`, `1`}},
		"sender_public_key":     {nil, []string{`"00"`, `1`}},
		"receiver_public_key":   {nil, []string{`"00"`}},
		"encryption_nonce":      {nil, []string{`"00"`}},
	}
	for name, f := range fields() {
		if f.action == reject {
			cases[name] = struct{ good, bad []string }{nil, []string{`null`, `true`}}
		}
		tc, ok := cases[name]
		if f.check != nil && !ok {
			t.Errorf("%s has a check and no case", name)
		}
		ep := first(f.endpoints)
		for _, v := range tc.good {
			if _, err := NewPolicy(Limits{}).Read(ep, with(ep, map[string]string{name: v})); err != nil {
				t.Errorf("%s = %s: %v", name, v, err)
			}
		}
		for _, v := range tc.bad {
			_, err := NewPolicy(Limits{}).Read(ep, with(ep, map[string]string{name: v}))
			want := f.code
			if f.action == reject {
				want = UnsupportedParameter
			}
			e, _ := errors.AsType[*Error](err)
			if e == nil || e.Code != want && e.Code != UnsupportedValue || e.Param != name || e.Status() != 400 {
				t.Errorf("%s = %.40s: %v, want %s with that param", name, v, err, want)
			}
		}
	}
}

// picture is a data: URL of the smallest PNG.
func picture() string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte("\x89PNG\x0D\x0A\x1A\x0A0000"))
}

func TestMedia(t *testing.T) {
	part := func(url string) map[string]string {
		return map[string]string{"messages": `[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + url + `"}}]}]`}
	}
	for name, tc := range map[string]struct {
		members map[string]string
		want    Code
	}{
		"a picture":                 {part(picture()), ""},
		"http":                      {part("http://x/a.png"), RemoteMediaRefused},
		"https in capitals":         {part("HTTPS://x/a.png"), RemoteMediaRefused},
		"a file of the engine":      {part("file:///etc/passwd"), RemoteMediaRefused},
		"empty":                     {part(""), RemoteMediaRefused},
		"escaped":                   {part(`\u0068ttp://x`), RemoteMediaRefused},
		"as a string":               {map[string]string{"messages": `[{"content":[{"image_url":"http://x"}]}]`}, RemoteMediaRefused},
		"video":                     {map[string]string{"messages": `[{"content":[{"video_url":{"url":"http://x"}}]}]`}, RemoteMediaRefused},
		"another type than it says": {part(strings.Replace(picture(), "png", "jpeg", 1)), InvalidValue},
		"not base64":                {part("data:image/png;base64,%%"), InvalidValue},
		"not encoded":               {part("data:text/plain,hi"), InvalidValue},
		"too large":                 {part("data:image/png;base64," + strings.Repeat("A", 4*(maxImageBytes/3+2))), RequestTooLarge},
		"too many":                  {map[string]string{"messages": `[{"content":[` + strings.Repeat(`{"image_url":"`+picture()+`"},`, 20) + `{"image_url":"` + picture() + `"}]}]`}, InvalidValue},
		"a link in the text":        {map[string]string{"messages": `[{"content":"look at https://x"}]`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewPolicy(Limits{}).Read(Chat, with(Chat, tc.members))
			got := codeOf(err)
			if tc.want == RequestTooLarge { // the body's own bound comes first for the largest of pictures
				tc.want = InvalidValue
				if len(with(Chat, tc.members)) > MaxBody {
					tc.want = RequestTooLarge
				}
			}
			if got != tc.want {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestBodyRules(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		lim  Limits
		want Code
	}{
		"duplicate key":           {`{"model":"m","model":"x","messages":[{}]}`, Limits{}, InvalidJSON},
		"not an object":           {`[]`, Limits{}, InvalidJSON},
		"trailing bytes":          {string(with(Chat, nil)) + "x", Limits{}, InvalidJSON},
		"too large":               {`{"x":"` + strings.Repeat("x", MaxBody) + `"}`, Limits{}, RequestTooLarge},
		"without model":           {`{"messages":[{}]}`, Limits{}, InvalidValue},
		"without messages":        {`{"model":"m"}`, Limits{}, InvalidValue},
		"unknown field, strict":   {string(with(Chat, map[string]string{"zz": "1"})), Limits{Strict: true}, UnsupportedParameter},
		"unknown field":           {string(with(Chat, map[string]string{"zz": "1"})), Limits{}, ""},
		"unknown fields, many":    {string(with(Chat, unknown(maxUnknown))), Limits{}, ""},
		"too many unknown fields": {string(with(Chat, unknown(maxUnknown+1))), Limits{}, UnsupportedParameter},
		"field of another path":   {string(with(Chat, map[string]string{"best_of": "3"})), Limits{}, ""},
		"min above max":           {string(with(Chat, map[string]string{"min_tokens": "5", "max_tokens": "4"})), Limits{}, InvalidValue},
		"ignore_eos with a limit": {string(with(Chat, map[string]string{"ignore_eos": "true", "max_tokens": "4"})), Limits{}, ""},
		"n above the engine's":    {string(with(Chat, map[string]string{"n": "3"})), Limits{MaxN: 2}, InvalidValue},
		"debug allowed":           {string(with(Chat, map[string]string{"enable_debug": "true"})), Limits{AllowDebug: true}, ""},
		"half an encryption":      {string(with(Chat, map[string]string{"is_encrypted": `"v1"`, "encryption_nonce": `"x"`})), Limits{}, InvalidValue},
		"whole encryption": {string(with(Chat, map[string]string{
			"is_encrypted": `"v1"`, "encryption_nonce": `"x"`, "sender_public_key": `"x"`, "receiver_public_key": `"x"`,
		})), Limits{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewPolicy(tc.lim).Read(Chat, []byte(tc.body)); codeOf(err) != tc.want {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

// unknown makes fields that no table has.
func unknown(n int) map[string]string {
	out := make(map[string]string, n)
	for i := range n {
		out[fmt.Sprintf("zz%d", i)] = "1"
	}
	return out
}

// TestListsCostNoMoreThanTheirBody: what has a bound is not listed beyond it, and token ids are not listed at all.
func TestListsCostNoMoreThanTheirBody(t *testing.T) {
	const many = 300_000
	ones := strings.TrimSuffix(strings.Repeat("1,", many), ",")
	pairs := make([]string, many)
	for i := range pairs {
		pairs[i] = fmt.Sprintf(`"%d":1`, i)
	}
	object := "{" + strings.Join(pairs, ",") + "}"
	for name, tc := range map[string]struct {
		ep     Endpoint
		value  string
		accept bool
	}{
		"prompt": {Completions, "[" + ones + "]", true}, "stop": {Chat, "[" + ones + "]", false}, "tools": {Chat, "[" + ones + "]", false},
		"stop_token_ids": {Chat, "[" + ones + "]", false}, "modalities": {Chat, "[" + ones + "]", false},
		"logit_bias": {Chat, strings.ReplaceAll(object, `"0":1,`, ""), false}, "metadata": {Chat, strings.ReplaceAll(object, ":1", `:""`), false},
		"provider": {Chat, `{"aci_session_ids":[` + ones + `]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			policy := NewPolicy(Limits{})
			doc, err := Parse(with(tc.ep, map[string]string{name: tc.value}))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = policy.ReadDocument(tc.ep, doc)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > uint64(len(tc.value)) {
				t.Errorf("%d bytes of memory for a value of %d", got, len(tc.value))
			}
			if (err == nil) != tc.accept {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestWhatIsRead(t *testing.T) {
	body := `{"model":"m","messages":[{"content":"x"}],"stream":true,"stream_options":{"include_usage":true},"n":2,"max_tokens":9,` +
		`"max_completion_tokens":5,"timeout":1.5,"max_coefficient":7,"user":"u","safety_identifier":"s","zz":{"a":[1]},"b b":0,"tools":[{"type":"function"}]}`
	r, err := NewPolicy(Limits{}).Read(Chat, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(r.Model, r.Stream, r.IncludeUsage, r.N, r.MaxTokens, r.Timeout, r.MaxCoefficient, r.RouteSecret, r.Ignored, r.Tools)
	if want := "m true true 2 5 1.5s 7 s [zz (unprintable)] true\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	forwarded := `{"model":"m","messages":[{"content":"x"}],"stream":true,"stream_options":{"include_usage":true},"n":2,"max_tokens":9,` +
		`"max_completion_tokens":5,"tools":[{"type":"function"}]}`
	if diff := cmp.Diff(forwarded, string(r.Forward().Bytes())); diff != "" {
		t.Error(diff)
	}
	if string(r.Body().Raw()) != body {
		t.Error("the body is not what was received")
	}
}

// FuzzRead: whatever is accepted has bounds, and what is forwarded is accepted again without anything to ignore.
func FuzzRead(f *testing.F) {
	for _, ep := range []Endpoint{Chat, Completions, Embeddings, Responses} {
		f.Add(uint8(ep), with(ep, nil))
	}
	f.Add(uint8(Chat), with(Chat, map[string]string{"max_tokens": "-5", "n": "3", "user": `"u"`, "q": "[]"}))
	f.Add(uint8(Chat), with(Chat, map[string]string{"messages": `[{"content":[{"image_url":"` + picture() + `"}]}]`, "provider": `{"aci_verified":true}`}))
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		ep := Endpoint(1) << (n % 4)
		r, err := NewPolicy(Limits{}).Read(ep, body)
		if err != nil {
			if codeOf(err) == "" {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		if r.N < 1 || r.N > DefaultMaxN*maxPrompts || r.MaxTokens < 0 || r.MaxCoefficient < 1 || r.Timeout <= 0 || r.Timeout > MaxTimeout || r.Model == "" {
			t.Fatalf("out of bounds: %+v", r)
		}
		again, err := NewPolicy(Limits{Strict: true}).Read(ep, r.Forward().Bytes())
		if err != nil || again.Model != r.Model || again.MaxTokens != r.MaxTokens {
			t.Fatalf("what is forwarded is not accepted: %v", err)
		}
	})
}

func TestErrorsAreShapedLikeOpenAIs(t *testing.T) {
	e := &Error{Code: InvalidValue, Param: "n", Message: "must be small", RequestID: "req_1", TL: 621}
	var doc struct {
		Error     map[string]any `json:"error"`
		ErrorCode int            `json:"error_code"`
	}
	if err := json.Unmarshal(e.Body(), &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"message": "must be small", "type": "invalid_request_error", "param": "n", "code": "invalid_value", "request_id": "req_1"}
	if diff := cmp.Diff(want, doc.Error); diff != "" || doc.ErrorCode != 621 {
		t.Error(diff, doc.ErrorCode)
	}
	got := string((&Error{Code: VerificationFailed, Message: "m"}).Body())
	if want := `{"error":{"message":"m","type":"upstream_verification_failed","param":null,"code":null}}`; got != want {
		t.Errorf("got %s", got)
	}
}

// TestEncryptedStringsAreTheWorkersToCheck: what hides in ciphertext is neither refused nor believed by the hops before,
// what stays readable is checked as ever.
func TestEncryptedStringsAreTheWorkersToCheck(t *testing.T) {
	const sealed = `{"model":"m","messages":[{"role":"ENC_00","content":[{"type":"ENC_01","image_url":{"url":"ENC_02"}}]}],"is_encrypted":"v1",` +
		`"sender_public_key":"a","receiver_public_key":"b","encryption_nonce":"c"`
	for name, tc := range map[string]struct {
		more    string
		param   string
		noticed func(r *Request) bool
	}{
		"tools":                {`,"tools":[{"type":"ENC_03"}]`, "", func(r *Request) bool { return r.Tools }},
		"no tools":             {`,"tools":[]`, "", func(r *Request) bool { return !r.Tools }},
		"a format":             {`,"response_format":{"type":"ENC_04"}`, "", func(r *Request) bool { return r.Schema }},
		"words of any length":  {`,"reasoning_effort":"ENC_` + strings.Repeat("00", 40) + `","service_tier":"ENC_05"`, "", func(r *Request) bool { return r.Encrypted }},
		"a negative limit":     {`,"max_tokens":-1`, "max_tokens", nil},
		"too many choices":     {`,"n":1000`, "n", nil},
		"another encryption":   {`,"max_coefficient":0`, "max_coefficient", nil},
		"an unreadable pin":    {`,"provider":{"aci_session":["ENC_06"]}`, "provider", nil},
		"what nobody may have": {`,"chat_template":"ENC_07"`, "chat_template", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewPolicy(Limits{}).Read(Chat, []byte(sealed+tc.more+`}`))
			refused, _ := errors.AsType[*Error](err)
			switch {
			case tc.param == "" && (err != nil || !tc.noticed(r)):
				t.Errorf("%+v, %v", r, err)
			case tc.param != "" && (refused == nil || refused.Param != tc.param):
				t.Errorf("%v, want %s", err, tc.param)
			}
		})
	}
	if _, err := NewPolicy(Limits{}).Read(Chat, []byte(strings.Replace(sealed, `"v1"`, `"v2"`, 1)+`}`)); err == nil {
		t.Error("an unknown encryption is let through")
	}
}

// TestTheSaltOfAProxy: a policy for what comes from proxies cuts the salt, and leaves its check to the one who uses it.
func TestTheSaltOfAProxy(t *testing.T) {
	const body = `{"cache_salt":"s","model":"m","messages":[{"role":"user","content":"x"}]}`
	r, err := NewPolicy(Limits{FromProxy: true}).Read(Chat, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(r.Forward().Bytes()), strings.Replace(body, `"cache_salt":"s",`, "", 1); got != want || r.Ignored != nil {
		t.Errorf("%s, ignored %q, want %s", got, r.Ignored, want)
	}
	var refused *Error
	if _, err := NewPolicy(Limits{}).Read(Chat, []byte(body)); !errors.As(err, &refused) || refused.Code != UnsupportedParameter {
		t.Errorf("from a caller: %v", err)
	}
}
