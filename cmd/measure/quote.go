package main

import (
	"context"
	"encoding/base64"
	"flag"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

func setupQuote(fs *flag.FlagSet) action {
	var f trustFlags
	f.register(fs)
	return func(_ context.Context, e *env, operands []string) error {
		t, err := f.load(e)
		if err != nil {
			return err
		}
		x, err := readExhibit(operands[0])
		if err != nil {
			return err
		}
		if x.err != nil && !t.judges() {
			return cli.Tag(cli.KindUsage, x.err)
		}
		doc := describeQuote(x)
		denied, err := doc.trust(t, x)
		if err != nil {
			return err
		}
		if err := e.result(doc); err != nil {
			return err
		}
		return denied
	}
}

// quoteDoc is the document of `quote`.
type quoteDoc struct {
	Schema  string `json:"schema"`
	Version int    `json:"version"`
	TEE     string `json:"tee,omitempty"`
	Size    int    `json:"size_bytes"`
	// Trailing counts the bytes behind the quote, which nobody signed.
	Trailing int          `json:"trailing_bytes"`
	Fields   []quoteField `json:"fields"`
	// ImageHash is absent for enclaves and for fake TDX, whose RTMR0 is zero.
	ImageHash   *tdx.Hash       `json:"imageHash,omitempty"`
	Base64      string          `json:"imageHashBase64,omitempty"`
	Certificate *certificateDoc `json:"certificate,omitempty"`
	// Platform is what the quote's own certificate says of where it was made.
	Platform *platformDoc `json:"platform,omitempty"`
	// At is when the quote was judged; Signature is the result without collateral, Verdict with it.
	At         string           `json:"at"`
	Signature  *signatureDoc    `json:"signature,omitempty"`
	Collateral *collateralDoc   `json:"collateral,omitempty"`
	Verdict    *policy.Document `json:"verdict,omitempty"`
	Note       string           `json:"note"`
}

type quoteField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Meaning puts the value in words, where there are some.
	Meaning string `json:"meaning,omitempty"`
}

// certificateDoc is the certificate that carried the quote.
type certificateDoc struct {
	Key       string `json:"key"`
	NotBefore string `json:"notBefore"`
	NotAfter  string `json:"notAfter"`
	Profile   string `json:"profile"`
}

// platformDoc says which collateral the quote needs.
type platformDoc struct {
	FMSPC      string   `json:"fmspc"`
	PCEID      string   `json:"pceid"`
	CA         string   `json:"ca"`
	Collateral []string `json:"collateral"`
}

// collateralDoc is the collateral that was used.
type collateralDoc struct {
	Platform         string    `json:"platform"`
	Root             string    `json:"root"`
	EvaluationNumber int       `json:"evaluationNumber"`
	Generation       string    `json:"generation"`
	Parts            []partDoc `json:"parts"`
}

type partDoc struct {
	Kind string `json:"kind"`
	From string `json:"from"`
	To   string `json:"to"`
}

// The notes keep readers from trusting what was only read.
const (
	noteUnreadable = "nothing could be read"
	noteUnverified = "without --collateral, revocation, quoting enclave and TCB are unknown: these fields are a claim"
	noteForged     = "the signatures do not verify: these fields are a claim of nobody"
	noteRefused    = "the quote is refused: see the verdict"
	// noteCertificate stands beside a verdict that is about the quote alone.
	noteCertificate = "the quote is accepted, the certificate that carries it is not valid at this time: a peer who shows it is refused"
	noteAnyImage    = "accepted for any image: compare the image hash with what you expect, or give --image or --policy"
	noteAccepted    = "accepted, in this state, for the images that the policy lists"
)

// describeQuote says what can be read, in the order of the quote's body.
func describeQuote(x *exhibit) *quoteDoc {
	doc := &quoteDoc{Schema: "cocoon.measure.quote/1", Fields: []quoteField{}, Note: noteUnreadable}
	if x.certificate != nil {
		key := x.claimed.Key
		doc.Certificate = &certificateDoc{
			Key: hexText(key[:]), NotBefore: dateText(x.certificate.NotBefore), NotAfter: dateText(x.certificate.NotAfter), Profile: "v1",
		}
		if x.claimed.Claims != nil {
			doc.Certificate.Profile = "v2"
		}
	}
	q := x.quote
	if q == nil {
		return doc
	}
	doc.Version, doc.TEE, doc.Size, doc.Trailing = int(q.Version), q.TEE.String(), len(q.Signed), len(x.raw)-len(q.Signed)
	doc.Fields = fieldsOf(q)
	if p, err := dcap.PlatformOf(x.raw); err == nil {
		doc.Platform = describePlatform(p)
	}
	if q.TD != nil {
		if hash, err := tdx.PublishableHash(&q.TD.Measurements); err == nil {
			doc.ImageHash, doc.Base64 = &hash, base64.StdEncoding.EncodeToString(hash[:])
		}
	}
	return doc
}

func describePlatform(p dcap.Platform) *platformDoc {
	doc := &platformDoc{FMSPC: p.FMSPC.String(), PCEID: hexText(p.PCEID[:]), CA: p.CA.String()}
	for _, r := range dcap.Requests(p) {
		path := r.Path
		if r.Query != "" {
			path += "?" + r.Query
		}
		doc.Collateral = append(doc.Collateral, path)
	}
	return doc
}

func describeCollateral(c *dcap.Collateral) *collateralDoc {
	generation := c.Generation()
	doc := &collateralDoc{
		Platform: c.Platform().String(), Root: c.Root().String(), EvaluationNumber: c.EvaluationNumber(), Generation: hexText(generation[:]),
	}
	for _, p := range c.Parts() {
		doc.Parts = append(doc.Parts, partDoc{p.Kind.String(), dateText(p.From), dateText(p.To)})
	}
	return doc
}

// trust fills in what the quote is worth. denied is the difference to report after the document, failed what kept it
// from being found out.
func (d *quoteDoc) trust(t *trust, x *exhibit) (denied, failed error) {
	d.At = dateText(t.now)
	if !t.judges() {
		d.Signature, d.Note = t.verifySignatures(x), noteUnverified
		if !d.Signature.OK {
			d.Note = noteForged
		}
		d.warnFake(x)
		d.Note = t.noted(d.Note)
		return firstOf(d.Signature.err(), t.checkCertificate(x)), nil
	}
	v, collateral, err := t.judge(x)
	if err != nil {
		return nil, err
	}
	verdict := v.Document()
	d.Verdict, d.Note = &verdict, noteAccepted
	if collateral != nil {
		d.Collateral = describeCollateral(collateral)
	}
	certificate := t.checkCertificate(x)
	switch {
	case !v.OK:
		d.Note = noteRefused
	case certificate != nil:
		d.Note = noteCertificate
	case t.anyImage():
		d.Note = noteAnyImage
	}
	d.warnFake(x)
	d.Note = t.noted(d.Note)
	return firstOf(t.verdictErr(&v), certificate), nil
}

// warnFake adds why there is no image hash.
func (d *quoteDoc) warnFake(x *exhibit) {
	if x.quote != nil && x.quote.TD != nil && d.ImageHash == nil {
		d.Note += "; no image hash: " + tdx.ErrFakeImage.Error()
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func dateText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
