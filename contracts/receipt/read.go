package receipt

import (
	"crypto/ed25519"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/pricing"
)

// read takes a receipt from its document. Members that are not known are ignored.
func read(doc object, found *events) (*Receipt, error) {
	top := &reader{doc: doc}
	r := &Receipt{
		ID: top.text("receipt_id"), ChatID: top.optional("chat_id"), Model: top.text("model"),
		KeysetDigest: top.text("workload_keyset_digest"), Endpoint: top.text("endpoint"), ServedAt: top.integer("served_at"),
		RequestHash: found.of(eventReceived).text("body_hash"), ResponseHash: found.of(eventReturned).text("body_hash"),
		Verified: readVerified(found.of(eventVerified)), Usage: readUsage(found.of(eventUsage)),
		Channel: readChannel(found.of(eventChannel)), Outcome: readOutcome(found.of(eventOutcome)),
	}
	if e := found.of(eventForwarded); e != nil {
		r.ForwardedHash = e.text("body_hash")
	}
	if e := found.of(eventWorker); e != nil {
		r.Worker = &Worker{SC: e.text("worker_sc"), SPKI: e.text("tls_spki_sha256"), Image: e.text("image_hash"), Engine: e.text("engine")}
	}
	if e := found.of(eventStatement); e != nil {
		r.Statement = &Statement{
			KeyID: e.text("key_id"), ResponseHash: e.text("response_hash"), ProxyPings: e.count("proxy_pings"),
			Served: e.integer("served_at"), Status: Status(e.text("status")), Signature: e.bytes("signature", ed25519.SignatureSize),
		}
	}
	for _, e := range found {
		if e != nil {
			top.join(e)
		}
	}
	return r, top.err
}

func readVerified(e *reader) Verified {
	v := Verified{OK: e.text("result") == "verified", Required: e.flag("required"), Model: e.text("model_id")}
	if v.OK {
		v.SessionID = e.text("session_id")
	} else {
		v.Reason = e.text("reason")
	}
	return v
}

func readUsage(e *reader) Usage {
	u := Usage{
		Source: e.text("source"), Estimated: e.flag("estimated"),
		Tokens: pricing.Tokens{
			Prompt: e.count("prompt_tokens"), Cached: e.count("cached_tokens"),
			Completion: e.count("completion_tokens"), Reasoning: e.count("reasoning_tokens"),
		},
		Billed: pricing.Billed{
			Prompt: e.count("billed_prompt"), Cached: e.count("billed_cached"),
			Completion: e.count("billed_completion"), Reasoning: e.count("billed_reasoning"),
		},
		Multipliers: pricing.Multipliers{
			Prompt: e.count("mult_prompt"), Cached: e.count("mult_cached"),
			Completion: e.count("mult_completion"), Reasoning: e.count("mult_reasoning"),
		},
		Coefficient: e.count("coefficient"), Reserved: e.count("reserved"),
		Price: e.amount("price_per_token_nano"), Cost: e.amount("cost_nano"),
		ConfigVersion: e.count("config_version"), ParamsVersion: e.count("params_version"),
		claimedTokens: e.count("total_tokens"), claimedTotal: e.count("billed_total"),
	}
	if _, ok := e.doc.get("cut"); ok {
		u.Cut = e.count("cut")
	}
	return u
}

func readChannel(e *reader) Channel {
	return Channel{
		ProxySC: e.text("proxy_sc"), ClientSC: e.text("client_sc"), ProxyKey: e.bytes("proxy_key", ed25519.PublicKeySize),
		Test: e.flag("is_test"), LedgerSeq: e.count("ledger_seq"), Total: e.amount("tokens_total"), Committed: e.amount("tokens_committed"),
	}
}

func readOutcome(e *reader) Outcome {
	o := Outcome{
		Status: Status(e.text("status")), HTTPStatus: e.count("http_status"), FinishReason: e.optional("finish_reason"),
		ErrorCode: e.optional("error_code"), Bytes: e.count("bytes"), Events: e.count("events"), Retries: e.count("retries"),
		TTFT: -1, Duration: e.count("duration_ms"),
	}
	if v, ok := e.doc.get("ttft_ms"); !ok || v.kind != jsonscan.Null {
		o.TTFT = e.count("ttft_ms")
	}
	return o
}
