package worker

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	guestproxy "cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
)

// client is a scripted client of a real proxy.
type client struct{ heard chan tl.Object }

func (client) Query(context.Context, tl.Function) (tl.Object, error) {
	return nil, &session.QueryError{Code: session.CodeProtocol}
}

func (c client) Packet(_ context.Context, o tl.Object) error {
	c.heard <- o
	return nil
}

// TestWithRealProxy: worker and proxy of this repository understand each other at every version, down to the statement in
// the receipt; a broken engine and a cancelled request are settled by what the worker says.
func TestWithRealProxy(t *testing.T) {
	for _, version := range []int32{5, 4, 1} {
		k := newKit(t, func(c *Config, _ *Deps) { c.MinVersion, c.MaxVersion = 0, version })
		seed := func(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }
		owner := guestproxy.Address{Hash: [32]byte{1}}
		chain := &guestproxy.Pseudo{Owner: owner}
		books, err := ledger.NewMemory(ledger.Config{Funds: chain.Funds, Signer: ledger.Keyed{Key: seed(2)}})
		if err != nil {
			t.Fatal(err)
		}
		payment, _ := seed(2).Public().(ed25519.PublicKey)
		p, err := guestproxy.New(guestproxy.Config{Owner: owner, Contract: guestproxy.Address{Hash: [32]byte{2}}, Test: true}, guestproxy.Deps{
			Chain: chain, Ledger: books, PaymentKey: payment, ReceiptKey: seed(3), Now: time.Now, Tick: books,
			TLSKeys: func() [][32]byte { return [][32]byte{{9}} },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		conn := <-k.conns
		running.Go(func() { _ = p.ServeWorker(ctx, conn, guestproxy.Peer{Key: [32]byte{8}}) })
		near, far := net.Pipe()
		running.Go(func() { _ = p.ServeClient(ctx, far, guestproxy.Peer{Key: [32]byte{7}}) })
		c := client{make(chan tl.Object, 4096)}
		sess := session.New(near, session.Options{Dialer: true}, c)
		running.Go(func() { _ = sess.Run(ctx) })
		<-sess.Ready()
		for _, fn := range []tl.Function{
			&tl.ClientConnectToProxy{Params: tl.ClientParams{ClientOwnerAddress: owner.Friendly(false), IsTest: new(true), MinProtoVersion: new(int32(5)), MaxProtoVersion: new(int32(5))}, MinConfigVersion: 1},
			&tl.ClientAuthorizeWithProxyShort{},
		} {
			if _, err := sess.Query(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		k.until("the proxy has a worker", func() bool {
			got, err := sess.Query(ctx, &tl.ClientGetWorkerTypesV2{})
			types, ok := got.(*tl.ClientWorkerTypesV2)
			return err == nil && ok && len(types.Types) == 1 && len(types.Types[0].Workers) == 1
		})
		for n, tc := range []struct {
			body, inside, status string
			cancel               bool
		}{
			{chat(true, "x"), "[DONE]", `"status":"complete"`, false},
			{chat(false, "x"), `"total_tokens":8`, `"status":"complete"`, false},
			{chat(true, "fault:cut-after-tokens"), "engine_truncated", `"status":"engine_error"`, false},
			{strings.Replace(chat(true, "fault:endless"), `"max_tokens":50`, `"max_tokens":90`, 1), "tick", `"status":"cancelled"`, true},
		} {
			if version < versionOurs && n != 1 {
				continue // such a worker is not asked for streams, cannot be cancelled, and states nothing
			}
			id := idOf(uint32(n))
			raw := tl.Encode(&tl.HTTPRequest{Method: http.MethodPost, URL: "/v1/chat/completions", Payload: []byte(tc.body)})
			if err := sess.Send(ctx, &tl.ClientRunQueryEx{ModelName: "test/model", Query: raw, MaxCoefficient: 4000, MaxTokens: 100, Timeout: 20, RequestID: id, MinConfigVersion: 1}); err != nil {
				t.Fatal(err)
			}
			body, signed := c.collect(ctx, t, sess, id, tc.cancel)
			if !strings.Contains(body, tc.inside) || !strings.Contains(signed, tc.status) || strings.Contains(signed, "cocoon.worker.statement") != (version >= versionOurs) {
				t.Errorf("version %d, request %d: %s\nreceipt %s", version, n, body, signed)
			}
		}
		cancel()
		running.Wait()
		k.stop()
	}
}

// collect reads an answer and its receipt. It cancels in the middle when asked to.
func (c client) collect(ctx context.Context, t *testing.T, sess *session.Session, id [32]byte, stop bool) (body, signed string) {
	t.Helper()
	for {
		select {
		case o := <-c.heard:
			switch o := o.(type) {
			case *tl.ClientQueryAnswerEx:
				v, err := tl.Parse(o.Answer)
				if head, ok := v.(*tl.HTTPResponse); err == nil && ok {
					body += string(head.Payload)
				}
			case *tl.ClientQueryAnswerPartEx:
				if body += string(o.Answer); stop && strings.Contains(body, "tick") {
					stop = false
					if err := sess.Send(ctx, &tl.ClientCancelQuery{RequestID: id}); err != nil {
						t.Fatal(err)
					}
				}
			case *tl.ClientQueryAnswerErrorEx:
				body += o.Error
			case *tl.ClientQueryReceipt:
				return body, string(o.Receipt)
			}
		case <-time.After(patience):
			t.Fatalf("no receipt; so far: %.500s", body)
		}
	}
}
