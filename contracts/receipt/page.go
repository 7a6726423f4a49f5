package receipt

import (
	"crypto/ed25519"

	"cocoon/contracts/pricing"
)

// signatureMark stands before the signature of a receipt.
const signatureMark = `,"signature":`

// page is the document of a receipt as this package writes it.
type page struct {
	Receipt

	doc, keyID, signature string
	// from and to are where the member of the signature stands: what is signed is the document without it. While nothing is
	// signed yet, both are where it will stand.
	from, to int
}

// readPage reads a document that stands as this package writes it; nil means that it does not.
func readPage(raw []byte) *page {
	if len(raw) > MaxDocument {
		return nil
	}
	f := form{buf: raw, doc: string(raw), reading: true}
	p := &page{doc: f.doc}
	p.fill(&f)
	if !f.ended() {
		return nil
	}
	return p
}

// signed appends the bytes that the signature is over. A page is in canonical form, and so is what is left of it.
func (p *page) signed(dst []byte) []byte {
	return append(append(dst, p.doc[:p.from]...), p.doc[p.to:]...)
}

// fill goes through the document. Members stand in the canonical order.
func (p *page) fill(f *form) {
	f.mark(`{"api_version":"` + apiVersion + `"`)
	f.nullable(`,"chat_id":`, &p.ChatID)
	f.text(`,"endpoint":`, &p.Endpoint)
	p.events(f)
	f.text(`,"key_id":`, &p.keyID)
	f.mark(`,"method":"POST"`)
	f.text(`,"model":`, &p.Model)
	f.text(`,"receipt_id":`, &p.ID)
	f.count(`,"served_at":`, &p.ServedAt)
	p.from = f.place()
	if f.optional(signatureMark, p.signature != "") {
		f.text("", &p.signature)
	}
	p.to = f.place()
	f.text(`,"workload_keyset_digest":`, &p.KeysetDigest)
	f.mark(`}`)
}

// events are told apart by their first member, where one may be absent.
func (p *page) events(f *form) {
	f.mark(`,"event_log":[`)
	f.text(`{"body_hash":`, &p.RequestHash)
	f.mark(`,"type":"` + eventReceived + `"}`)
	forwarded := f.optional(`,{"body_hash":`, p.ForwardedHash != "")
	if forwarded {
		f.text("", &p.ForwardedHash)
		f.mark(`,"type":"` + eventForwarded + `"}`)
	}
	p.Verified.fill(f)
	if f.optional(`,{"engine":`, p.Worker != nil) {
		if f.reading {
			p.Worker = new(Worker)
		}
		p.Worker.fill(f)
	} else if f.reading && forwarded {
		f.giveUp() // an event is missing
	}
	f.text(`,{"body_hash":`, &p.ResponseHash)
	f.mark(`,"type":"` + eventReturned + `"}`)
	p.Usage.fill(f)
	if f.optional(`,{"key_id":`, p.Statement != nil) {
		if f.reading {
			p.Statement = new(Statement)
		}
		p.Statement.fill(f)
	}
	p.Channel.fill(f)
	p.Outcome.fill(f)
	f.mark(`]`)
}

func (v *Verified) fill(f *form) {
	f.text(`,{"model_id":`, &v.Model)
	if failed := f.optional(`,"reason":`, !v.OK); failed {
		f.text("", &v.Reason)
		f.flag(`,"required":`, &v.Required)
		f.mark(`,"result":"failed"`)
	} else {
		v.OK = true
		f.flag(`,"required":`, &v.Required)
		f.text(`,"result":"verified","session_id":`, &v.SessionID)
	}
	f.mark(`,"type":"` + eventVerified + `"}`)
}

func (w *Worker) fill(f *form) {
	f.text("", &w.Engine)
	f.text(`,"image_hash":`, &w.Image)
	f.text(`,"tls_spki_sha256":`, &w.SPKI)
	f.text(`,"type":"`+eventWorker+`","worker_sc":`, &w.SC)
	f.mark(`}`)
}

func (u *Usage) fill(f *form) {
	if !f.reading {
		u.claimedTokens, u.claimedTotal = u.Tokens.Prompt+u.Tokens.Completion, u.Total()
	}
	f.count(`,{"billed_cached":`, &u.Billed.Cached)
	f.count(`,"billed_completion":`, &u.Billed.Completion)
	f.count(`,"billed_prompt":`, &u.Billed.Prompt)
	f.count(`,"billed_reasoning":`, &u.Billed.Reasoning)
	f.count(`,"billed_total":`, &u.claimedTotal)
	f.count(`,"cached_tokens":`, &u.Tokens.Cached)
	f.count(`,"coefficient":`, &u.Coefficient)
	f.count(`,"completion_tokens":`, &u.Tokens.Completion)
	f.count(`,"config_version":`, &u.ConfigVersion)
	f.amount(`,"cost_nano":`, &u.Cost)
	if f.optional(`,"cut":`, u.Cut > 0) {
		f.count("", &u.Cut)
	}
	f.flag(`,"estimated":`, &u.Estimated)
	f.count(`,"mult_cached":`, &u.Multipliers.Cached)
	f.count(`,"mult_completion":`, &u.Multipliers.Completion)
	f.count(`,"mult_prompt":`, &u.Multipliers.Prompt)
	f.count(`,"mult_reasoning":`, &u.Multipliers.Reasoning)
	f.count(`,"params_version":`, &u.ParamsVersion)
	f.amount(`,"price_per_token_nano":`, &u.Price)
	f.count(`,"prompt_tokens":`, &u.Tokens.Prompt)
	f.count(`,"reasoning_tokens":`, &u.Tokens.Reasoning)
	f.count(`,"reserved":`, &u.Reserved)
	f.text(`,"source":`, &u.Source)
	f.count(`,"total_tokens":`, &u.claimedTokens)
	f.mark(`,"type":"` + eventUsage + `"}`)
}

func (s *Statement) fill(f *form) {
	f.text("", &s.KeyID)
	f.count(`,"proxy_pings":`, &s.ProxyPings)
	f.text(`,"response_hash":`, &s.ResponseHash)
	f.count(`,"served_at":`, &s.Served)
	f.hex(`,"signature":`, &s.Signature, ed25519.SignatureSize)
	f.text(`,"status":`, (*string)(&s.Status))
	f.mark(`,"type":"` + eventStatement + `"}`)
}

func (c *Channel) fill(f *form) {
	f.text(`,{"client_sc":`, &c.ClientSC)
	f.flag(`,"is_test":`, &c.Test)
	f.count(`,"ledger_seq":`, &c.LedgerSeq)
	f.hex(`,"proxy_key":`, (*[]byte)(&c.ProxyKey), ed25519.PublicKeySize)
	f.text(`,"proxy_sc":`, &c.ProxySC)
	f.amount(`,"tokens_committed":`, &c.Committed)
	f.amount(`,"tokens_total":`, &c.Total)
	f.mark(`,"type":"` + eventChannel + `"}`)
}

func (o *Outcome) fill(f *form) {
	f.count(`,{"bytes":`, &o.Bytes)
	f.count(`,"duration_ms":`, &o.Duration)
	f.nullable(`,"error_code":`, &o.ErrorCode)
	f.count(`,"events":`, &o.Events)
	f.nullable(`,"finish_reason":`, &o.FinishReason)
	f.count(`,"http_status":`, &o.HTTPStatus)
	f.count(`,"retries":`, &o.Retries)
	f.text(`,"status":`, (*string)(&o.Status))
	f.mark(`,"ttft_ms":`)
	if f.optional("null", o.TTFT < 0) {
		o.TTFT = -1
	} else {
		f.count("", &o.TTFT)
	}
	f.mark(`,"type":"` + eventOutcome + `"}`)
}

// WorkerStatement is what a worker signs: its counts for one request, bound to what it was sent and what it answered.
type WorkerStatement struct {
	RequestID, RequestHash, ResponseHash string
	Status                               Status
	ServedAt                             int64
	WorkerSC                             string
	Tokens                               pricing.Tokens
}

// Bytes is the canonical form that is signed.
func (s WorkerStatement) Bytes() []byte {
	const usual = 640 // bytes
	f := form{buf: make([]byte, 0, usual)}
	f.count(`{"cached_tokens":`, &s.Tokens.Cached)
	f.count(`,"completion_tokens":`, &s.Tokens.Completion)
	f.count(`,"prompt_tokens":`, &s.Tokens.Prompt)
	f.count(`,"purpose":"cocoon.worker-usage.v1","reasoning_tokens":`, &s.Tokens.Reasoning)
	f.text(`,"request_hash":`, &s.RequestHash)
	f.text(`,"request_id":`, &s.RequestID)
	f.text(`,"response_hash":`, &s.ResponseHash)
	f.count(`,"served_at":`, &s.ServedAt)
	f.text(`,"status":`, (*string)(&s.Status))
	f.text(`,"worker_sc":`, &s.WorkerSC)
	f.mark(`}`)
	return f.buf
}
