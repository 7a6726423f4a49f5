package gateway

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/receipt"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
)

// documentTimeout bounds a question to a proxy that an app waits for.
const documentTimeout = 30 * time.Second

func notFound(what string) error {
	return &api.Error{Code: api.NotFound, Message: what}
}

// source is the proxy that a request for a document is about: the one it names, else the first that is ready.
func (s *Server) source(r *http.Request) (*upstream.Link, error) {
	wanted := r.URL.Query().Get("proxy")
	for _, l := range s.cfg.Pool.Links() {
		st := l.Status()
		if st.State == upstream.Ready && (wanted == "" && st.Offer.Version >= upstream.ExtensionVersion || wanted == l.Address() || wanted != "" && upstream.RawAddress(wanted) == st.Offer.ProxySC) {
			return l, nil
		}
	}
	return nil, &api.Error{Code: api.NoProxy, Message: "no such proxy is connected, or none that makes attestation reports; /readyz says why"}
}

// attestation passes on a proxy's report (inference.md section 10.2).
func (s *Server) attestation(w http.ResponseWriter, r *http.Request) {
	var nonce *[32]byte
	if r.URL.Query().Has("nonce") {
		text := r.URL.Query().Get("nonce")
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != 32 || text != strings.ToLower(text) {
			refuse(w, &api.Error{Code: api.InvalidValue, Param: "nonce", Message: "must be 64 lower-case hexadecimal digits, or absent"})
			return
		}
		nonce = (*[32]byte)(raw)
	}
	link, err := s.source(r)
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), documentTimeout)
	defer cancel()
	doc, err := link.Attestation(ctx, nonce)
	if err != nil || !json.Valid(doc) {
		s.cfg.Log.Warn("Proxy gave no attestation report", slog.String("peer", link.Address()), slog.Any("err", err))
		refuse(w, &api.Error{Code: api.WorkerProtocol, Message: "the proxy gave no attestation report; try again"})
		return
	}
	answerRaw(w, doc)
}

// showReceipt gives a receipt to whoever holds the key that its request was made with (inference.md section 10.7).
func (s *Server) showReceipt(w http.ResponseWriter, r *http.Request, id string) {
	record, err := s.owned(r, id)
	if err != nil {
		refuse(w, err)
		return
	}
	if r.URL.Query().Get("verdict") == "1" {
		answer(w, record)
		return
	}
	w.Header().Set("X-Cocoon-Receipt-Verdict", record.Class)
	answerRaw(w, record.Receipt)
}

// owned finds a record that the caller may see. A wrong key learns nothing, not even that it exists.
func (s *Server) owned(r *http.Request, id string) (receipts.Record, error) {
	const missing = "no final receipt has this id; it is there shortly after the answer's end, as long as it is kept"
	authorization := r.Header.Get("Authorization")
	if !s.cfg.Keys.Open() && authorization == "" {
		return receipts.Record{}, &api.Error{Code: api.Unauthorized, Message: "send the API key that the request was made with: Authorization: Bearer KEY"}
	}
	name, err := s.cfg.Keys.Identify(authorization)
	if err != nil || s.cfg.Store == nil {
		return receipts.Record{}, notFound(missing)
	}
	record, ok, err := s.find(r.Context(), id)
	switch {
	case err != nil:
		s.cfg.Log.Error("Receipt cannot be read", slog.Any("err", err))
		return receipts.Record{}, notFound("the receipt was kept and cannot be read; the gateway's log says why")
	case !ok || record.Key != name || record.Receipt == nil:
		return receipts.Record{}, notFound(missing)
	}
	return record, nil
}

// find looks for a record. One that is not there may be about to be: apps ask when they have the answer, and the verdict is
// reached right after it.
func (s *Server) find(ctx context.Context, id string) (receipts.Record, bool, error) {
	const patience = 2 * time.Second
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		next := s.running.next() // asked first: what is done now is found
		record, ok, err := s.cfg.Store.Find(id)
		if ok || err != nil || next == nil {
			return record, ok, err
		}
		select {
		case <-next:
		case <-limit.C:
			return record, false, nil
		case <-ctx.Done():
			return record, false, nil
		}
	}
}

// session is a row of /v1/aci/sessions, without the evidence.
type sessionRow struct {
	ID          string `json:"session_id"`
	Worker      string `json:"worker_sc"`
	Model       string `json:"model_id"`
	Engine      string `json:"engine"`
	Image       string `json:"image_hash"`
	Established int64  `json:"established_at"`
	Expires     int64  `json:"expires_at"`
	Evidence    string `json:"evidence_digest"`
}

func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) {
	rows := []sessionRow{}
	if s.cfg.Checker != nil {
		wanted := r.URL.Query().Get("model")
		for _, v := range s.cfg.Checker.Sessions() {
			base, _, _ := strings.Cut(v.Model, "@")
			if wanted != "" && wanted != v.Model && wanted != base {
				continue
			}
			rows = append(rows, sessionRow{v.ID, v.WorkerSC, v.Model, v.Engine, v.Image, v.Established.Unix(), v.Until.Unix(), v.EvidenceDigest})
		}
	}
	answer(w, struct {
		Object string       `json:"object"`
		Data   []sessionRow `json:"data"`
	}{"list", rows})
}

func (s *Server) showSession(w http.ResponseWriter, r *http.Request, id string) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 32 {
		refuse(w, &api.Error{Code: api.InvalidValue, Param: "session_id", Message: "must be 64 hexadecimal digits"})
		return
	}
	if s.cfg.Checker != nil {
		if doc := s.cfg.Checker.Session(strings.ToLower(id)); doc != nil {
			answerRaw(w, doc)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), documentTimeout)
	defer cancel()
	for _, l := range s.cfg.Pool.Links() {
		doc, err := l.Session(ctx, [32]byte(raw))
		if err != nil || len(doc) == 0 {
			continue
		}
		if v, err := receipt.ParseSession(doc); err == nil && v.ID == strings.ToLower(id) {
			answerRaw(w, doc)
			return
		}
	}
	refuse(w, notFound("no proxy that is connected knows this session"))
}

// showSignature is the alias that tools of other networks ask for (inference.md section 10.8): the two hashes of the
// receipt, under the receipt's own signature, because a gateway has no key that a quote binds.
func (s *Server) showSignature(w http.ResponseWriter, r *http.Request, id string) {
	if algo := r.URL.Query().Get("signing_algo"); algo != "" && algo != "ed25519" {
		refuse(w, &api.Error{Code: api.InvalidValue, Param: "signing_algo", Message: "must be ed25519; ECDSA is not offered"})
		return
	}
	record, err := s.owned(r, id)
	if err != nil {
		refuse(w, err)
		return
	}
	var doc struct {
		Keyset    string `json:"workload_keyset_digest"`
		KeyID     string `json:"key_id"`
		Signature string `json:"signature"`
		Events    []struct {
			Type string `json:"type"`
			Hash string `json:"body_hash"`
		} `json:"event_log"`
	}
	if err := json.Unmarshal(record.Receipt, &doc); err != nil {
		refuse(w, notFound("the receipt is malformed"))
		return
	}
	hash := map[string]string{}
	for _, e := range doc.Events {
		hash[e.Type] = strings.TrimPrefix(e.Hash, "sha256:")
	}
	key := doc.KeyID // all there is to say of a key whose keyset was never judged
	if s.cfg.Checker != nil {
		if public := s.cfg.Checker.Key(doc.Keyset, doc.KeyID); public != nil {
			key = hex.EncodeToString(public)
		}
	}
	answer(w, struct {
		Text      string `json:"text"`
		Signature string `json:"signature"`
		Key       string `json:"signing_address"`
		Algo      string `json:"signing_algo"`
		Signed    string `json:"signed"`
	}{hash["request.received"] + ":" + hash["response.returned"], doc.Signature, key, "ed25519", "receipt"})
}
