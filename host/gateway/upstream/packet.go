package upstream

import (
	"context"
	"fmt"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// Query implements session.Handler: nobody queries a client.
func (v *live) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unexpected function " + fn.TLName()}
}

// Packet implements session.Handler. Both forms of answers are accepted at every version: the first generation of the
// reference implementation sends errors in the old form to everybody (protocol.md section 4.2).
func (v *live) Packet(_ context.Context, p tl.Object) error {
	switch p := p.(type) {
	case *tl.ClientQueryAnswerEx:
		v.to(p.RequestID, func(c *Call) { c.head(p.Answer, final(p.FinalInfo)) })
	case *tl.ClientQueryAnswerPartEx:
		v.to(p.RequestID, func(c *Call) { c.part(p.Answer, final(p.FinalInfo)) })
	case *tl.ClientQueryAnswerErrorEx:
		v.to(p.RequestID, func(c *Call) { c.refused(p.ErrorCode, p.Error, final(p.FinalInfo)) })
	case *tl.ClientQueryAnswer:
		v.to(p.RequestID, func(c *Call) { c.head(p.Answer, completed(p.IsCompleted, p.RequestTokensUsed)) })
	case *tl.ClientQueryAnswerPart:
		v.to(p.RequestID, func(c *Call) { c.part(p.Answer, completed(p.IsCompleted, p.RequestTokensUsed)) })
	case *tl.ClientQueryAnswerError:
		v.to(p.RequestID, func(c *Call) { c.refused(p.ErrorCode, p.Error, completed(true, p.RequestTokensUsed)) })
	case *tl.ClientQueryAnswerPartError:
		v.to(p.RequestID, func(c *Call) { c.refused(p.ErrorCode, p.Error, completed(true, p.RequestTokensUsed)) })
	case *tl.ClientQueryReceipt:
		v.to(p.RequestID, func(c *Call) { c.receipt(p.Receipt) })
	case *tl.ProxyClientRequestPayment:
		v.link.update(func(s *Status) { s.DBTokens, s.MaxTokens = p.DBTokens, p.MaxTokens })
	}
	return nil
}

// to finds the call of an answer; one that nobody waits for any more is dropped.
func (v *live) to(id [32]byte, f func(c *Call)) {
	v.mu.Lock()
	c := v.calls[id]
	v.mu.Unlock()
	if c != nil {
		f(c)
	}
}

// Final is what a finished request used, and when.
type Final struct {
	Prompt, Cached, Completion, Reasoning, Total int64
	// Times are Unix seconds; zero where the proxy does not say.
	ProxyStart, ProxyEnd, WorkerStart, WorkerEnd float64
}

func tokens(t tl.TokensUsed) *Final {
	return &Final{
		Prompt: max(t.PromptTokensUsed, 0), Cached: max(t.CachedTokensUsed, 0), Completion: max(t.CompletionTokensUsed, 0),
		Reasoning: max(t.ReasoningTokensUsed, 0), Total: max(t.TotalTokensUsed, 0),
	}
}

func completed(done bool, t tl.TokensUsed) *Final {
	if !done {
		return nil
	}
	return tokens(t)
}

func final(info *tl.ClientQueryFinalInfo) *Final {
	if info == nil {
		return nil
	}
	f := tokens(info.TokensUsed)
	for _, t := range [...]struct{ at, from *float64 }{
		{&f.ProxyStart, info.ProxyStartTime},
		{&f.ProxyEnd, info.ProxyEndTime},
		{&f.WorkerStart, info.WorkerStartTime},
		{&f.WorkerEnd, info.WorkerEndTime},
	} {
		if t.from != nil {
			*t.at = *t.from
		}
	}
	return f
}

// Session asks the proxy for the session document that a receipt cites; nil bytes mean that it has none.
func (l *Link) Session(ctx context.Context, id [32]byte) ([]byte, error) {
	v, err := l.extended()
	if err != nil {
		return nil, err
	}
	got, err := ask[*tl.ClientSession](ctx, v.session, typesTimeout, &tl.ClientGetSession{SessionID: id})
	if err != nil {
		return nil, err
	}
	return got.Document, nil
}

// Attestation asks the proxy for its report, made for a nonce or the one that may be cached.
func (l *Link) Attestation(ctx context.Context, nonce *[32]byte) ([]byte, error) {
	v, err := l.extended()
	if err != nil {
		return nil, err
	}
	got, err := ask[*tl.ClientAttestation](ctx, v.session, documentTimeout, &tl.ClientGetAttestation{Nonce: nonce})
	if err != nil {
		return nil, err
	}
	return got.Document, nil
}

// extended is the session, if the proxy knows our extensions.
func (l *Link) extended() (*live, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		return nil, fmt.Errorf("asking proxy %s: %w", l.address, ErrLost)
	}
	if v := l.live.offer.Version; v < ExtensionVersion {
		return nil, fmt.Errorf("asking proxy %s: it speaks version %d, %d is needed", l.address, v, ExtensionVersion)
	}
	return l.live, nil
}
