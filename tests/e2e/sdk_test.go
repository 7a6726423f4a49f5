package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"cocoon/tests/inputs"
)

// goSDK is the official Go SDK, pointed at a gateway and changed in nothing but its base URL and key. Its requests on the
// wire are counted.
type goSDK struct {
	openai.Client
	attempts *atomic.Int64
	model    string
	// engine is what was asked of; nil where the pinned engine answers.
	engine *sdkEngine
}

func newSDK(url, name, key string, engine *sdkEngine, transport http.RoundTripper) goSDK {
	attempts := new(atomic.Int64)
	counted := func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		attempts.Add(1)
		return next(r)
	}
	return goSDK{
		openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key), option.WithMiddleware(counted),
			option.WithHTTPClient(&http.Client{Transport: transport})),
		attempts, name, engine,
	}
}

// withSDK starts a world whose engine answers in every shape.
func withSDK(t *testing.T) (*world, goSDK) {
	t.Helper()
	n, engine := start(t, options{}), new(sdkEngine)
	answer := engine.serve
	n.workers[0].before.Store(&answer)
	return n, newSDK(n.url, base, "none", engine, n.client.Transport)
}

func (s *goSDK) says(text string, more ...openai.ChatCompletionMessageParamUnion) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: s.model, Temperature: openai.Float(0),
		Messages: append([]openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}, more...),
	}
}

func weather() []openai.ChatCompletionToolUnionParam {
	return []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
		Name: "get_weather", Description: openai.String("w"),
		Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
	})}
}

// sdkRun is the SDK within one test.
type sdkRun struct {
	*goSDK
	t *testing.T
}

// sdkCase is what one use of the SDK must come to, with either engine.
type sdkCase func(s *sdkRun)

// sdkCases hold for the pinned engine and for the one of these tests.
func sdkCases() map[string]sdkCase {
	return map[string]sdkCase{
		"models": sdkModels, "chat": sdkChat, "stream with usage": sdkStream(true), "stream without usage": sdkStream(false),
		"tools": sdkTools, "tool call in a stream": sdkToolStream, "tool_choice": sdkToolChoice, "json schema": sdkSchema, "logprobs": sdkLogprobs,
		"max_completion_tokens": sdkLength, "two choices": sdkChoices, "completions": sdkCompletions, "completions in a stream": sdkCompletionStream,
		"response": sdkResponse, "response in a stream": sdkResponseStream, "fields that other services know": sdkForeignFields,
	}
}

// TestTheOfficialGoSDKIsServed is the openai-go SDK, unmodified, through gateway, proxy and worker.
func TestTheOfficialGoSDKIsServed(t *testing.T) {
	n, s := withSDK(t)
	cases := sdkCases()
	cases["embeddings"] = sdkEmbeddings
	cases["transcription"] = sdkTranscription
	cases["answer of a tool"] = sdkToolAnswer
	for name, check := range cases {
		t.Run(name, func(t *testing.T) { check(&sdkRun{&s, t}) })
	}
	if got, want := s.attempts.Load(), int64(len(n.ledger.settled())); got <= want {
		t.Errorf("%d requests of the SDK, %d of them billed", got, want)
	}
}

// TestTheOfficialGoSDKIsServedByARealModel does the same with the pinned engine, over a local network of processes.
func TestTheOfficialGoSDKIsServedByARealModel(t *testing.T) {
	if !inputs.Wants("big") {
		t.Skip("needs the pinned engine, about 20 MB: set COCOON_TEST=big")
	}
	n, log := localnet(t, realEngine(t))
	running, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(running) }()
	about, transport := n.Description(), &http.Transport{}
	s := newSDK(about.URL, about.Model, "none", nil, transport)
	for name, check := range sdkCases() {
		t.Run(name, func(t *testing.T) { check(&sdkRun{&s, t}) })
	}
	transport.CloseIdleConnections()
	interrupt()
	check(t, <-ended)
	silent(t, about.Dir, log)
}

func sdkModels(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	page, err := s.Models.List(ctx)
	check(t, err)
	if len(page.Data) != 1 || page.Data[0].Object != "model" || page.Data[0].OwnedBy != "cocoon" || page.Data[0].Created == 0 {
		t.Fatalf("%+v", page.Data)
	}
	full := page.Data[0].ID
	if base, _, _ := strings.Cut(full, "@"); base != s.model || !strings.Contains(full, "/") {
		t.Errorf("the model's name is %q", full)
	}
	one, err := s.Models.Get(ctx, full)
	check(t, err)
	if one.ID != full {
		t.Errorf("asked for %q, got %q", full, one.ID)
	}
}

func sdkChat(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	var raw *http.Response
	got, err := s.Chat.Completions.New(ctx, s.says("hi "+canary), option.WithResponseInto(&raw))
	check(t, err)
	if got.Choices[0].Message.Content != greeting || got.Choices[0].FinishReason != "stop" || got.Object != "chat.completion" {
		t.Errorf("%s", got.RawJSON())
	}
	u := got.Usage
	if u.CompletionTokens != greetingCount || u.TotalTokens != u.PromptTokens+u.CompletionTokens || u.PromptTokens == 0 {
		t.Errorf("usage %s", u.RawJSON())
	}
	if id := raw.Header.Get("X-Request-Id"); !regexp.MustCompile(`^req_[0-9a-f]{32}$`).MatchString(id) || !strings.HasPrefix(raw.Header.Get("X-Receipt-Id"), id[4:]) {
		t.Errorf("request %q, receipt %q", id, raw.Header.Get("X-Receipt-Id"))
	}
}

func sdkStream(withUsage bool) sdkCase {
	return func(s *sdkRun) {
		t, ctx := s.t, s.t.Context()
		ask := s.says("hi " + canary)
		if withUsage {
			ask.StreamOptions.IncludeUsage = openai.Bool(true)
		}
		stream := s.Chat.Completions.NewStreaming(ctx, ask)
		defer stream.Close() //nolint:errcheck // read side
		var all openai.ChatCompletionAccumulator
		usages, events := 0, 0
		for stream.Next() {
			events++
			if stream.Current().JSON.Usage.Valid() {
				usages++
			}
			all.AddChunk(stream.Current())
		}
		check(t, stream.Err())
		if len(all.Choices) != 1 || all.Choices[0].Message.Content != greeting || all.Choices[0].FinishReason != "stop" || events < 3 {
			t.Errorf("%d events: %+v", events, all.Choices)
		}
		if want := map[bool]int{true: 1}[withUsage]; usages != want || withUsage && all.Usage.CompletionTokens != greetingCount {
			t.Errorf("%d usages, wanted %d, the last %+v", usages, want, all.Usage)
		}
	}
}

func sdkTools(s *sdkRun) {
	ask := s.says("weather?")
	ask.Tools = weather()
	s.calledParis(ask)
}

// calledParis asks, and wants the call of the one tool.
func (s *sdkRun) calledParis(ask openai.ChatCompletionNewParams) {
	s.t.Helper()
	got, err := s.Chat.Completions.New(s.t.Context(), ask)
	check(s.t, err)
	calls := got.Choices[0].Message.ToolCalls
	if len(calls) != 1 || calls[0].Function.Name != "get_weather" || !sameJSON(calls[0].Function.Arguments, city) || calls[0].ID == "" {
		s.t.Errorf("%s", got.RawJSON())
	}
}

func sdkToolStream(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	ask := s.says("weather?")
	ask.Tools = weather()
	stream := s.Chat.Completions.NewStreaming(ctx, ask)
	defer stream.Close() //nolint:errcheck // read side
	var all openai.ChatCompletionAccumulator
	for stream.Next() {
		all.AddChunk(stream.Current())
	}
	check(t, stream.Err())
	if calls := all.Choices[0].Message.ToolCalls; len(calls) != 1 || calls[0].Function.Name != "get_weather" || !sameJSON(calls[0].Function.Arguments, city) {
		t.Errorf("%+v", all.Choices[0])
	}
	if all.Choices[0].FinishReason != "tool_calls" {
		t.Errorf("it ended by %s", all.Choices[0].FinishReason)
	}
}

func sdkToolChoice(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	ask := s.says("weather?")
	ask.Tools = weather()
	ask.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "get_weather"})
	ask.ParallelToolCalls = openai.Bool(false)
	if s.engine == nil {
		ask.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")} // what that engine knows
	}
	s.calledParis(ask)
	if s.engine == nil {
		return
	}
	if got := s.engine.asked("tool_choice"); !sameJSON(got, `{"type":"function","function":{"name":"get_weather"}}`) || s.engine.asked("parallel_tool_calls") != "false" {
		t.Errorf("the engine was asked with tool_choice %s", got)
	}
	ask.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("none")}
	plain, err := s.Chat.Completions.New(ctx, ask)
	check(t, err)
	if plain.Choices[0].Message.Content != greeting || len(plain.Choices[0].Message.ToolCalls) != 0 {
		t.Errorf("%s", plain.RawJSON())
	}
}

func sdkToolAnswer(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	call := openai.ChatCompletionMessageParamUnion{OfAssistant: &openai.ChatCompletionAssistantMessageParam{
		ToolCalls: []openai.ChatCompletionMessageToolCallUnionParam{{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
			ID: "call_1", Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: "get_weather", Arguments: city},
		}}},
	}}
	ask := s.says("weather?", call, openai.ToolMessage(`{"celsius":21}`, "call_1"))
	ask.Tools = weather()
	got, err := s.Chat.Completions.New(ctx, ask)
	check(t, err)
	if got.Choices[0].Message.Content != greeting {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkSchema(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	schema := map[string]any{
		"type": "object", "properties": map[string]any{"answer": map[string]any{"type": "integer"}}, "required": []string{"answer"}, "additionalProperties": false,
	}
	ask := s.says("json please")
	ask.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "a", Strict: openai.Bool(true), Schema: schema},
	}
	got, err := s.Chat.Completions.New(ctx, ask)
	check(t, err)
	if !sameJSON(got.Choices[0].Message.Content, structured) {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkLogprobs(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	ask := s.says("hi")
	ask.Logprobs, ask.TopLogprobs, ask.MaxTokens = openai.Bool(true), openai.Int(2), openai.Int(3)
	got, err := s.Chat.Completions.New(ctx, ask)
	check(t, err)
	if list := got.Choices[0].Logprobs.Content; len(list) == 0 || len(list[0].TopLogprobs) != 2 || list[0].Token == "" {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkLength(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	ask := s.says("hi")
	ask.MaxCompletionTokens = openai.Int(4)
	got, err := s.Chat.Completions.New(ctx, ask)
	check(t, err)
	if got.Choices[0].FinishReason != "length" || got.Usage.CompletionTokens != 4 {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkChoices(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	ask := s.says("hi")
	ask.N = openai.Int(2)
	got, err := s.Chat.Completions.New(ctx, ask)
	check(t, err)
	if len(got.Choices) != 2 || got.Choices[1].Message.Content != greeting || got.Choices[1].Index != 1 {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkCompletions(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	got, err := s.Completions.New(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(s.model), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("hi")}, MaxTokens: openai.Int(4),
	})
	check(t, err)
	if len(got.Choices) != 1 || got.Object != "text_completion" || got.Usage.TotalTokens == 0 {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkCompletionStream(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	stream := s.Completions.NewStreaming(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(s.model), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("hi")}, MaxTokens: openai.Int(4),
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	})
	defer stream.Close() //nolint:errcheck // read side
	finish, total := "", int64(0)
	for stream.Next() {
		for _, c := range stream.Current().Choices {
			finish += string(c.FinishReason)
		}
		total = max(total, stream.Current().Usage.TotalTokens)
	}
	check(t, stream.Err())
	if finish == "" || total == 0 {
		t.Errorf("ended by %q after %d tokens", finish, total)
	}
}

func (s *goSDK) input() responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: s.model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")}}
}

func sdkResponse(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	got, err := s.Responses.New(ctx, s.input())
	check(t, err)
	if got.OutputText() != greeting || got.Status != "completed" || got.Usage.OutputTokens != greetingCount {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkResponseStream(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	stream := s.Responses.NewStreaming(ctx, s.input())
	defer stream.Close() //nolint:errcheck // read side
	var text strings.Builder
	var last responses.ResponseStreamEventUnion
	for stream.Next() {
		if last = stream.Current(); last.Type == "response.output_text.delta" {
			text.WriteString(last.Delta)
		}
	}
	check(t, stream.Err())
	if text.String() != greeting || last.Type != "response.completed" || last.Response.Usage.OutputTokens != greetingCount {
		t.Errorf("text %q, the last event %s", text.String(), last.RawJSON())
	}
}

func sdkForeignFields(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	ask := s.says("hi")
	ask.User, ask.SafetyIdentifier, ask.PromptCacheKey = openai.String("somebody"), openai.String("x"), openai.String("k")
	ask.Store, ask.ServiceTier, ask.Metadata = openai.Bool(false), openai.ChatCompletionNewParamsServiceTierAuto, shared.Metadata{"a": "b"}
	var raw *http.Response
	got, err := s.Chat.Completions.New(ctx, ask, option.WithResponseInto(&raw), option.WithJSONSet("field_of_2030", 1))
	check(t, err)
	if got.Choices[0].Message.Content != greeting || raw.Header.Get("X-Cocoon-Ignored-Params") != "field_of_2030" {
		t.Errorf("ignored: %q, %s", raw.Header.Get("X-Cocoon-Ignored-Params"), got.RawJSON())
	}
	if s.engine != nil && s.engine.asked("user")+s.engine.asked("metadata")+s.engine.asked("field_of_2030") != "" {
		t.Error("the engine was told what only the proxy needs")
	}
}

func sdkEmbeddings(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	got, err := s.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: s.model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}, EncodingFormat: openai.EmbeddingNewParamsEncodingFormatFloat,
	})
	check(t, err)
	if len(got.Data) != 2 || len(got.Data[1].Embedding) != vectorSize || got.Data[1].Embedding[3] != 1 || got.Usage.PromptTokens != 6 {
		t.Errorf("%s", got.RawJSON())
	}
}

func sdkTranscription(s *sdkRun) {
	t, ctx := s.t, s.t.Context()
	sound := "RIFF of " + canary
	got, err := s.Audio.Transcriptions.New(ctx, openai.AudioTranscriptionNewParams{
		File: openai.File(strings.NewReader(sound), "speech.wav", "audio/wav"), Model: s.model, Language: openai.String("en"), Temperature: openai.Float(0),
	})
	check(t, err)
	if got.Text != "Hello" || got.Usage.TotalTokens != 16 {
		t.Errorf("%s", got.RawJSON())
	}
	if form := string(s.engine.received()); !strings.Contains(form, sound) || strings.Contains(form, s.model) {
		t.Errorf("the engine got %q", form)
	}
	_, err = s.Audio.Transcriptions.New(ctx, openai.AudioTranscriptionNewParams{
		File: strings.NewReader(sound), Model: s.model, ResponseFormat: openai.AudioResponseFormatSRT,
	})
	if e := apiError(err); e == nil || e.Code != "unsupported_value" || e.Param != "response_format" {
		t.Errorf("subtitles: %v", err)
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	one, _ := json.Marshal(x)
	other, _ := json.Marshal(y)
	return string(one) == string(other)
}

// apiError is what the SDK makes of a refusal; nil when it is none.
func apiError(err error) *openai.Error {
	e, _ := errors.AsType[*openai.Error](err)
	return e
}
