package conformance

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"cocoon/contracts/pricing"
	"cocoon/contracts/wire"
	"cocoon/guest/proxy"
	"cocoon/guest/worker/meter"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pow"
	"cocoon/tests/golden"
)

// TestProofsOfWork: the challenges, the smallest answers and the refusals of protocol.md section 2.2.
func TestProofsOfWork(t *testing.T) {
	var v struct {
		OK []struct {
			Salt       string
			Difficulty int
			Nonce      int64  `json:"smallest_nonce"`
			Challenge  string `json:"challenge_hex"`
			Response   string `json:"response_hex"`
		}
		Refused []struct {
			Salt, Why           string
			Difficulty          int
			Nonce               int64
			Challenge, Response string
			ResponseHex         string `json:"response_hex"`
		} `json:"must_be_refused"`
		Client []struct {
			Challenge string `json:"challenge_hex"`
			Why       string
		} `json:"client_must_refuse"`
	}
	golden.JSON(t, "protocol/pow.json", &v)
	for _, c := range v.OK {
		ch, err := pow.ParseChallenge(golden.Hex(t, c.Challenge))
		if err != nil || ch.Difficulty != c.Difficulty || hex.EncodeToString(ch.Salt[:]) != c.Salt {
			t.Fatalf("%s: %+v %v", c.Challenge, ch, err)
		}
		if got := hex.EncodeToString(ch.Append(nil)); got != c.Challenge {
			t.Errorf("challenge %s", got)
		}
		nonce, err := pow.DefaultEffort().Solve(t.Context(), ch)
		if err != nil || nonce != c.Nonce || hex.EncodeToString(pow.AppendResponse(nil, nonce)) != c.Response || ch.Check(nonce) != nil {
			t.Errorf("difficulty %d: nonce %d (%v), want %d", c.Difficulty, nonce, err, c.Nonce)
		}
		if again, err := pow.ParseResponse(golden.Hex(t, c.Response)); err != nil || again != c.Nonce {
			t.Errorf("response %s: %d %v", c.Response, again, err)
		}
	}
	for _, c := range v.Refused {
		if c.ResponseHex != "" {
			if _, err := pow.ParseResponse(golden.Hex(t, c.ResponseHex)); err == nil {
				t.Errorf("taken: %s", c.Why)
			}
			continue
		}
		ch := pow.Challenge{Difficulty: c.Difficulty, Salt: [pow.SaltSize]byte(golden.Hex(t, c.Salt))}
		if ch.Check(c.Nonce) == nil {
			t.Errorf("taken: %s", c.Why)
		}
	}
	for _, c := range v.Client {
		ch, err := pow.ParseChallenge(golden.Hex(t, c.Challenge))
		if err == nil {
			_, err = pow.DefaultEffort().Solve(t.Context(), ch)
		}
		if err == nil {
			t.Errorf("worked for: %s", c.Why)
		}
	}
}

// TestPreamblesOfBothGenerations: what an external router of either generation writes names the same peer to our proxy.
func TestPreamblesOfBothGenerations(t *testing.T) {
	registers := msg(nil)
	for n := range byte(8) {
		registers = registers.raw(bytes.Repeat([]byte{n + 1}, 48)...)
	}
	report := registers.raw(bytes.Repeat([]byte{0x55}, 64)...).raw(bytes.Repeat([]byte{0xcc}, 48)...)
	tail := msg(nil).bin(bytes.Repeat([]byte{7}, 32)).str("10.0.2.2").i32(40001).str("127.0.0.1").i32(8118)
	// Registers i of 1..8 filled with byte i, protocol.md section 2.5.
	const image = "a1c3a6779016181d2a6e3b11a8ba839dc2498b471b2bb90d00b81020f43f3b46"
	for name, tc := range map[string]struct {
		body     msg
		size     int
		attested bool
	}{
		"Dec, attested": {msg(nil).i32(1).i32(0).raw(report...).raw(tail...), 572, true},
		"Apr, attested": {msg(nil).i32(2).i32(0).raw(report...).raw(tail...), 572, true},
		"Dec, without":  {msg(nil).i32(0).raw(make([]byte, 48)...).raw(tail...), 120, false},
		"Apr, without":  {msg(nil).i32(2).i32(0).raw(make([]byte, len(report))...).raw(tail...), 572, false},
	} {
		t.Run(name, func(t *testing.T) {
			// The addresses' texts have eight characters in the sizes that the specification gives, ours have one more.
			if got := len(tc.body) - 4; got != tc.size-4 && got != tc.size {
				t.Errorf("%d bytes, want about %d", got, tc.size)
			}
			pre, _, err := wire.ReadPreamble(bytes.NewReader(msg(nil).i32(int32(len(tc.body))).raw(tc.body...).raw(0x0c, 0, 0, 0)))
			if err != nil {
				t.Fatal(err)
			}
			p := proxy.PeerOfPreamble(pre, []dcap.RootID{dcap.RootID(bytes.Repeat([]byte{0xcc}, 48))})
			if p.Attested != tc.attested || p.Key != [32]byte(bytes.Repeat([]byte{7}, 32)) || pre.Source != netip.MustParseAddrPort("10.0.2.2:40001") {
				t.Errorf("%+v", p)
			}
			if p := proxy.PeerOfPreamble(pre, []dcap.RootID{dcap.IntelRootID()}); p.Attested || p.Doubt == "" {
				t.Errorf("a quote below another root counts: %+v", p)
			}
			if tc.attested && hex.EncodeToString(p.Image[:]) != image {
				t.Errorf("image %x, want %s", p.Image, image)
			}
		})
	}
}

// TestCountsOfTheReference: every answer of the vectors, in the form in which our worker reads it, is billed as required.
func TestCountsOfTheReference(t *testing.T) {
	var v struct {
		Cases []struct {
			Name        string
			Chunks      []string
			Coefficient int64
			Multipliers pricing.Multipliers
			Required    struct{ Prompt, Cached, Completion, Reasoning, Total int64 } `json:"required_tokens_used"`
		}
	}
	golden.JSON(t, "protocol/count_tokens.json", &v)
	if len(v.Cases) < 12 {
		t.Fatalf("%d cases", len(v.Cases))
	}
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			m := meter.New(meter.Options{Choices: 1})
			body := strings.Join(c.Chunks, "")
			if strings.HasPrefix(body, "data:") {
				m.Append(nil, []byte(body))
			} else {
				for row := range strings.Lines(body) {
					if row = strings.TrimSpace(row); strings.HasPrefix(row, "{") {
						m.Append(nil, []byte("data: "+row+"\n\n"))
					}
				}
			}
			b := pricing.Bill(pricing.Tokens(m.Result().Usage), c.Coefficient, c.Multipliers)
			if w := c.Required; b != (pricing.Billed{Prompt: w.Prompt, Cached: w.Cached, Completion: w.Completion, Reasoning: w.Reasoning}) || b.Total() != w.Total {
				t.Errorf("billed %+v of %+v, required %+v", b, m.Result().Usage, w)
			}
		})
	}
}
