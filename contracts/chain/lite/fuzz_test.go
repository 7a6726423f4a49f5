package lite

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/liteclient"
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
)

// scripted answers every query with the same bytes, as a hostile liteserver might.
type scripted struct{ raw []byte }

func (s scripted) QueryLiteserver(_ context.Context, _ tl.Serializable, result tl.Serializable) error {
	var resp tl.Serializable
	if _, err := tl.Parse(&resp, s.raw, true); err != nil {
		return err
	}
	reflect.ValueOf(result).Elem().Set(reflect.ValueOf(resp))
	return nil
}

func (scripted) StickyContext(ctx context.Context) context.Context { return ctx }

func (scripted) StickyContextNextNode(ctx context.Context) (context.Context, error) {
	return ctx, liteclient.ErrNoNodesLeft
}

func (scripted) StickyContextNextNodeBalanced(ctx context.Context) (context.Context, error) {
	return ctx, liteclient.ErrNoNodesLeft
}

func (scripted) StickyNodeID(context.Context) uint32 { return 0 }

// taped passes queries on and keeps the answers.
type taped struct {
	ton.LiteClient
	tape *[][]byte
}

func (r taped) QueryLiteserver(ctx context.Context, q tl.Serializable, result tl.Serializable) error {
	err := r.LiteClient.QueryLiteserver(ctx, q, result)
	if err == nil {
		if raw, err := tl.Serialize(reflect.ValueOf(result).Elem().Interface(), true); err == nil {
			*r.tape = append(*r.tape, raw)
		}
	}
	return err
}

// honest records what a liteserver of a deterministic chain answers to every kind of query.
func honest(tb testing.TB) [][]byte {
	tb.Helper()
	c, err := local.NewChain(local.Options{Deterministic: true})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Steps(3); err != nil {
		tb.Fatal(err)
	}
	s, err := adnl.Start(tb.Context(), c, adnl.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	e := newEndpoint(Server{Addr: s.Addr(), Key: s.Key()}, 5*time.Second)
	defer e.close()
	var tape [][]byte
	p, err := c.BlockAt(-1, 1, false)
	if err != nil {
		tb.Fatal(err)
	}
	err = e.do(tb.Context(), func(ctx context.Context, live *session) error {
		fake := &session{api: ton.NewAPIClient(taped{live.api.Client(), &tape}, ton.ProofCheckPolicySecure)}
		client := &Client{opts: Options{Store: &MemoryTrust{}, Now: time.Now}, trust: keyBlockOf(p.ID())}
		b, err := client.headFrom(ctx, fake)
		if err != nil {
			return err
		}
		_, err = fake.account(ctx, b, c.Faucet())
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return tape
}

// FuzzAnswers feeds bytes as the answer to everything that the client asks. Nothing but an error may come of it, and
// the client must not move its head.
func FuzzAnswers(f *testing.F) {
	for _, raw := range honest(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &session{api: ton.NewAPIClient(scripted{raw}, ton.ProofCheckPolicySecure)}
		at := chain.Block{Seqno: 5, RootHash: chain.Hash{1}, FileHash: chain.Hash{2}}
		client := &Client{
			opts: Options{Store: &MemoryTrust{}, Now: time.Now}, trust: KeyBlock{Seqno: 1, RootHash: chain.Hash{3}, FileHash: chain.Hash{4}},
		}
		addr := address.NewAddress(0, 0, bytes.Repeat([]byte{5}, 32))
		for name, ask := range map[string]func(context.Context) error{
			"head":    func(ctx context.Context) error { _, err := client.headFrom(ctx, s); return err },
			"account": func(ctx context.Context) error { _, err := s.account(ctx, at, addr); return err },
			"config":  func(ctx context.Context) error { _, err := s.config(ctx, at); return err },
			"past": func(ctx context.Context) error {
				_, err := s.past(ctx, addr, chain.Cursor{LT: 6, Hash: chain.Hash{7}}, 16)
				return err
			},
			"header": func(ctx context.Context) error { _, err := s.header(ctx, idOf(at)); return err },
			"proof":  func(ctx context.Context) error { return s.follows(ctx, client.trust.id(), idOf(at)) },
		} {
			if err := guard(func() error { return ask(t.Context()) }); err == nil {
				t.Errorf("%s believed %x", name, raw)
			}
		}
		if client.last != (chain.Block{}) {
			t.Errorf("the head moved to %+v", client.last)
		}
	})
}

func FuzzParseGlobalConfig(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"@type":"config.global","liteservers":[],"validator":{"init_block":{"workchain":-1,"shard":-9223372036854775808,"seqno":1,"root_hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","file_hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}}`))
	f.Add([]byte(`{"@type":"config.global","liteservers":[{"ip":-1,"port":65535,"id":{"@type":"pub.ed25519","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}]}`))
	f.Add([]byte(`{"@type":"config.global","liteservers":[{"ip":4294967296,"port":0}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseGlobalConfig(data)
		if err != nil {
			if !errors.Is(err, chain.ErrMalformed) {
				t.Errorf("got %v", err)
			}
			return
		}
		for _, s := range n.Servers {
			if !s.Addr.IsValid() || s.Addr.Port() == 0 || len(s.Key) != 32 {
				t.Errorf("%+v", s)
			}
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	good, err := trustFile{Schema: trustSchema, KeyBlock: KeyBlock{Seqno: 9, RootHash: chain.Hash{1}, FileHash: chain.Hash{2}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(strings.Replace(string(good), "9", "0", 1)))
	f.Add([]byte(`{"schema":"cocoon.trusted_block/2"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseTrust(data)
		if err != nil {
			return
		}
		again, err := trustFile{Schema: trustSchema, KeyBlock: k}.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q is not what %+v is written as: %v", data, k, err)
		}
	})
}
