package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// What the model of the vectors says, which the answers below repeat so that one set of cases fits both engines.
const (
	greeting      = "Hello from a scripted model running inside llama-server."
	greetingCount = 11
	structured    = `{"answer": 42}`
	city          = `{"city": "Paris"}`
	vectorSize    = 4
)

// sdkEngine answers what SDKs ask in every shape of the API, as the pinned engine would. A prompt with a fault is left to
// the fake engine behind it.
type sdkEngine struct {
	mu   sync.Mutex
	last map[string]json.RawMessage
	form []byte
}

// asked is a member of the last request as the engine got it, or nothing.
func (e *sdkEngine) asked(member string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.last[member])
}

// received is the last form.
func (e *sdkEngine) received() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.form
}

// serve answers a request, unless it asks for a fault.
func (e *sdkEngine) serve(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil || bytes.Contains(body, []byte("fault:")) {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return false
	}
	fields := make(map[string]json.RawMessage)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		e.mu.Lock()
		e.form = body
		e.mu.Unlock()
	} else if json.Unmarshal(body, &fields) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return true
	}
	e.mu.Lock()
	e.last = fields
	e.mu.Unlock()
	shapes := map[string]func(map[string]json.RawMessage) (whole string, events []string){
		"/v1/chat/completions":     chatShape,
		"/v1/completions":          completionShape,
		"/v1/responses":            responseShape,
		"/v1/embeddings":           embeddingShape,
		"/v1/audio/transcriptions": transcriptionShape,
	}
	shape := shapes[r.URL.Path]
	if shape == nil {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	whole, events := shape(fields)
	if string(fields["stream"]) != "true" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, whole)
		return true
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, event := range events {
		_, _ = io.WriteString(w, event+"\n\n")
		_ = http.NewResponseController(w).Flush()
	}
	return true
}

func number(q map[string]json.RawMessage, key string, otherwise int) int {
	n := otherwise
	_ = json.Unmarshal(q[key], &n) // what is absent or no number stays
	return n
}

func tokens(prompt, completion int) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, prompt, completion, prompt+completion)
}

// chatShape chooses as the template of the vectors does: tools, a schema, or a greeting.
func chatShape(q map[string]json.RawMessage) (string, []string) {
	message, deltas, finish, used := `"content":`+fmt.Sprintf("%q", greeting), strings.SplitAfter(greeting, " "), "stop", tokens(5, greetingCount)
	logprobs := ""
	switch most := number(q, "max_tokens", 1<<20); {
	case q["tools"] != nil && string(q["tool_choice"]) != `"none"` && !bytes.Contains(q["messages"], []byte(`"tool_call_id"`)):
		call := fmt.Sprintf(`"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get_weather","arguments":%q}}]`, city)
		message, finish, used, deltas = `"content":null,`+call, "tool_calls", tokens(290, 7), nil
	case q["response_format"] != nil:
		message, used, deltas = `"content":`+fmt.Sprintf("%q", structured), tokens(16, 4), []string{structured}
	case most < greetingCount:
		finish, used = "length", tokens(5, most)
	}
	if string(q["logprobs"]) == "true" {
		const top = `{"token":"Hello","logprob":-0.1,"bytes":[72],"top_logprobs":[{"token":"Hello","logprob":-0.1,"bytes":[72]},{"token":"x","logprob":-9,"bytes":[120]}]}`
		logprobs = `,"logprobs":{"content":[` + top + `],"refusal":null}`
	}
	var choices []string
	for i := range number(q, "n", 1) {
		choices = append(choices, fmt.Sprintf(`{"index":%d,"message":{"role":"assistant",%s}%s,"finish_reason":%q}`, i, message, logprobs, finish))
	}
	whole := `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"model","choices":[` + strings.Join(choices, ",") + `],"usage":` + used + `}`
	chunk := func(delta, end string) string {
		return fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]}`, delta, end)
	}
	events := []string{chunk(`"role":"assistant","content":""`, "null")}
	if len(deltas) == 0 {
		_, call, _ := strings.Cut(message, ",")
		events = append(events, chunk(call, "null"))
	}
	for _, d := range deltas {
		events = append(events, chunk(fmt.Sprintf(`"content":%q`, d), "null"))
	}
	return whole, append(events, chunk("", fmt.Sprintf("%q", finish)),
		`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[],"usage":`+used+`}`, "data: [DONE]")
}

func completionShape(map[string]json.RawMessage) (string, []string) {
	one := func(finish, used string) string {
		return `{"id":"cmpl-1","object":"text_completion","created":1,"model":"model","choices":[{"index":0,"text":"Hello","logprobs":null,"finish_reason":` + finish + `}]` + used + `}`
	}
	used := `,"usage":` + tokens(3, 1)
	return one(`"stop"`, used), []string{
		"data: " + one("null", ""), "data: " + one(`"stop"`, ""),
		`data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"model","choices":[]` + used + `}`, "data: [DONE]",
	}
}

func responseShape(map[string]json.RawMessage) (string, []string) {
	part := fmt.Sprintf(`{"type":"output_text","text":%q,"annotations":[]}`, greeting)
	item := `{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[` + part + `]}`
	whole := `{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"model","output":[` + item +
		`],"usage":{"input_tokens":5,"output_tokens":11,"total_tokens":16,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":0}}}`
	event := func(kind, rest string) string {
		return "event: " + kind + "\ndata: " + `{"type":"` + kind + `",` + rest + `}`
	}
	events := []string{event("response.created", `"sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","output":[]}`)}
	for i, d := range strings.SplitAfter(greeting, " ") {
		events = append(events, event("response.output_text.delta", fmt.Sprintf(`"sequence_number":%d,"item_id":"msg_1","output_index":0,"content_index":0,"delta":%q`, i+1, d)))
	}
	return whole, append(events, event("response.completed", `"sequence_number":99,"response":`+whole))
}

func embeddingShape(q map[string]json.RawMessage) (string, []string) {
	var many []string
	if json.Unmarshal(q["input"], &many) != nil {
		many = []string{""}
	}
	var data []string
	for i := range many {
		data = append(data, fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":[0.5,-0.25,0,%d]}`, i, i))
	}
	return `{"object":"list","data":[` + strings.Join(data, ",") + `],"model":"model","usage":{"prompt_tokens":6,"total_tokens":6}}`, nil
}

func transcriptionShape(map[string]json.RawMessage) (string, []string) {
	return `{"text":"Hello","usage":{"type":"tokens","input_tokens":14,"output_tokens":2,"total_tokens":16,"input_token_details":{"text_tokens":0,"audio_tokens":14}}}`, nil
}
