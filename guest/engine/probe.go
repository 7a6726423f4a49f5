package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	settings "cocoon/guest/worker/engine"
)

const (
	// maxAnswer bounds what is read of an engine's answer to our own short question.
	maxAnswer = 64 << 10
	// maxHeader bounds the header of an answer; the library's own bound is megabytes.
	maxHeader = 16 << 10
	// idleTimeout is below the 5 s after which engines drop idle connections (inference.md section 12).
	idleTimeout = 4 * time.Second
	// firstTokens bounds the first completion.
	firstTokens = 16
)

// Answer is what the engine said to the first completion.
type Answer struct {
	Content          string
	FinishReason     string
	PromptTokens     int
	CompletionTokens int
}

// client talks to an engine through its unix socket.
type client struct {
	cfg  *settings.Config
	http *http.Client
}

func newClient(socket string, cfg *settings.Config) *client {
	var d net.Dialer
	return &client{cfg: cfg, http: &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
			IdleConnTimeout:        idleTimeout,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // an engine sends nobody elsewhere
	}}
}

// ready asks the path that engine.toml names; only the status that it names counts.
func (c *client) ready(ctx context.Context) error {
	path, want := c.cfg.Ready.Path, c.cfg.Ready.Expect
	if path == "" {
		path, want = c.cfg.Health.Path, http.StatusOK
	}
	_, err := c.do(ctx, http.MethodGet, path, nil, want)
	return err
}

// complete asks for one short completion: an engine that loads a model but cannot run it must not become ready.
func (c *client) complete(ctx context.Context) (Answer, error) {
	body, err := json.Marshal(map[string]any{
		"model":       c.cfg.Model,
		"messages":    []map[string]string{{"role": "user", "content": "hi"}},
		"temperature": 0,
		"max_tokens":  firstTokens,
	})
	if err != nil {
		return Answer{}, fmt.Errorf("encoding first completion: %w", err)
	}
	raw, err := c.do(ctx, http.MethodPost, chatPath, body, http.StatusOK)
	if err != nil {
		return Answer{}, fmt.Errorf("asking for the first completion: %w", err)
	}
	return parseAnswer(raw)
}

func parseAnswer(raw []byte) (Answer, error) {
	var doc struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
			FinishReason string `json:"finish_reason"`
		} `json:"choices"`
		Usage struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return Answer{}, fmt.Errorf("reading the first completion: %w", err)
	}
	u := doc.Usage
	if len(doc.Choices) != 1 || u.CompletionTokens < 1 || u.CompletionTokens > firstTokens || u.PromptTokens < 1 {
		return Answer{}, fmt.Errorf("reading the first completion: %d choices, %d prompt and %d completion tokens make no sense",
			len(doc.Choices), u.PromptTokens, u.CompletionTokens)
	}
	return Answer{
		Content: doc.Choices[0].Message.Content, FinishReason: doc.Choices[0].FinishReason,
		PromptTokens: u.PromptTokens, CompletionTokens: u.CompletionTokens,
	}, nil
}

func (c *client) do(ctx context.Context, method, path string, body []byte, want int) (answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading answer of %s: %w", path, err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("answer of %s is over %d bytes", path, maxAnswer)
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("%s answered %s", path, res.Status)
	}
	return answer, nil
}
