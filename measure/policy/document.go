package policy

import (
	"encoding/hex"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// DocumentSchema names the form of Document; schema/cocoon.policy.verdict.1.json describes it.
const DocumentSchema = "cocoon.policy.verdict/1"

// Document is a verdict for JSON. It holds the platform's identity: do not log it at info level.
type Document struct {
	Schema   string            `json:"schema"`
	OK       bool              `json:"ok"`
	Code     Code              `json:"code"`
	Type     Type              `json:"type"`
	Findings []FindingDocument `json:"findings"`
	// Fake is true for fake TDX evidence.
	Fake bool `json:"fake,omitempty"`
	// TD or Enclave is what was measured, Platform where; all are absent without a verified quote.
	TD       *TDDocument       `json:"td,omitempty"`
	Enclave  *EnclaveDocument  `json:"enclave,omitempty"`
	Platform *PlatformDocument `json:"platform,omitempty"`
	// ImagesAt is when the list of the chain was true.
	ImagesAt string `json:"images_at,omitempty"`
	// Role and NetworkID are claims of a wire profile v2 certificate.
	Role      string `json:"role,omitempty"`
	NetworkID *int32 `json:"network_id,omitempty"`
}

// FindingDocument is a finding for JSON. Result is pass, fail or skip.
type FindingDocument struct {
	Rule   string `json:"rule"`
	Code   Code   `json:"code"`
	Result string `json:"result"`
	Want   string `json:"want"`
	Got    string `json:"got"`
}

// TDDocument is a TD's evidence for JSON, in hex.
type TDDocument struct {
	ImageHash      tdx.Hash      `json:"image_hash"`
	MRTD           tdx.Digest    `json:"mrtd"`
	MRConfigID     tdx.Digest    `json:"mrconfigid"`
	MROwner        tdx.Digest    `json:"mrowner"`
	MROwnerConfig  tdx.Digest    `json:"mrownerconfig"`
	RTMR           [4]tdx.Digest `json:"rtmr"`
	ReportData     string        `json:"report_data"`
	TEETCBSVN      string        `json:"tee_tcb_svn"`
	MRSEAM         tdx.Digest    `json:"mrseam"`
	MRSignerSEAM   tdx.Digest    `json:"mrsignerseam"`
	SEAMAttributes string        `json:"seam_attributes"`
	TDAttributes   string        `json:"td_attributes"`
	XFAM           string        `json:"xfam"`
	// TEETCBSVN2 and MRServiceTD are absent in TD 1.0.
	TEETCBSVN2  string      `json:"tee_tcb_svn_2,omitempty"`
	MRServiceTD *tdx.Digest `json:"mrservicetd,omitempty"`
}

// EnclaveDocument is an enclave's evidence for JSON, in hex.
type EnclaveDocument struct {
	MREnclave  string `json:"mrenclave"`
	MRSigner   string `json:"mrsigner"`
	ISVProdID  uint16 `json:"isvprodid"`
	ISVSVN     uint16 `json:"isvsvn"`
	Attributes string `json:"attributes"`
	ReportData string `json:"report_data"`
}

// PlatformDocument is a platform and its collateral for JSON.
type PlatformDocument struct {
	FMSPC string `json:"fmspc"`
	PCEID string `json:"pceid"`
	PPID  string `json:"ppid"`
	PIID  string `json:"piid,omitempty"`
	Root  string `json:"root"`
	// Status is the combined one; an enclave has no ModuleStatus.
	Status           string   `json:"status"`
	PlatformStatus   string   `json:"platform_status"`
	ModuleStatus     string   `json:"module_status,omitempty"`
	QEStatus         string   `json:"qe_status"`
	TCBDate          string   `json:"tcb_date,omitempty"`
	NewestTCBDate    string   `json:"newest_tcb_date,omitempty"`
	Advisories       []string `json:"advisories"`
	Generation       string   `json:"collateral_generation"`
	EvaluationNumber int      `json:"evaluation_number"`
	Expires          string   `json:"collateral_expires"`
}

// Document gives the verdict for JSON.
func (v Verdict) Document() Document {
	doc := Document{
		Schema: DocumentSchema, OK: v.OK, Code: v.Code, Type: v.Type, Fake: v.Fake,
		Findings: make([]FindingDocument, len(v.Findings)), ImagesAt: dateOrNone(v.ImagesAt),
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		doc.Findings[i] = FindingDocument{Rule: f.Rule, Code: f.Code, Result: f.Result(), Want: f.Want, Got: f.Got}
	}
	if v.Claims != nil {
		id := v.Claims.NetworkID
		doc.Role, doc.NetworkID = v.Claims.Role.String(), &id
	}
	if v.Quote == nil || v.Quote.Quote == nil {
		return doc
	}
	doc.Platform = platformDocument(v.Quote)
	if td := v.Quote.Quote.TD; td != nil {
		doc.TD = tdDocument(td, v.ImageHash)
	}
	if e := v.Quote.Quote.SGX; e != nil {
		doc.Enclave = &EnclaveDocument{
			MREnclave: hexOf(e.MREnclave), MRSigner: hexOf(e.MRSigner), ISVProdID: e.ISVProdID, ISVSVN: e.ISVSVN,
			Attributes: hexOf(e.Attributes), ReportData: hex.EncodeToString(e.ReportData[:]),
		}
	}
	return doc
}

// Result is the finding in one word: pass, fail or skip.
func (f *Finding) Result() string {
	switch {
	case f.OK:
		return "pass"
	case f.Skipped:
		return "skip"
	}
	return "fail"
}

func tdDocument(td *tdx.Body, image tdx.Hash) *TDDocument {
	doc := &TDDocument{
		ImageHash: image, MRTD: td.MRTD, MRConfigID: td.MRConfigID, MROwner: td.MROwner, MROwnerConfig: td.MROwnerConfig,
		RTMR: td.RTMR, ReportData: hex.EncodeToString(td.ReportData[:]), TEETCBSVN: hexOf(td.TEETCBSVN),
		MRSEAM: td.MRSEAM, MRSignerSEAM: td.MRSignerSEAM, SEAMAttributes: hex.EncodeToString(td.SEAMAttributes[:]),
		TDAttributes: hex.EncodeToString(td.TDAttributes[:]), XFAM: hex.EncodeToString(td.XFAM[:]),
	}
	if td.Service != nil {
		service := td.Service.MRServiceTD
		doc.TEETCBSVN2, doc.MRServiceTD = hexOf(td.Service.TEETCBSVN2), &service
	}
	return doc
}

func platformDocument(q *dcap.Result) *PlatformDocument {
	doc := &PlatformDocument{
		FMSPC: hex.EncodeToString(q.FMSPC[:]), PCEID: hex.EncodeToString(q.PCEID[:]), PPID: hexOf(q.PPID), Root: q.Root.String(),
		Status: q.Combined.String(), PlatformStatus: q.PlatformStatus.String(), QEStatus: q.QEStatus.String(), ModuleStatus: q.ModuleStatus.String(),
		TCBDate: dateOrNone(q.TCBDate), NewestTCBDate: dateOrNone(q.NewestTCBDate),
		Advisories: append([]string{}, q.Advisories...), Generation: hexOf(q.Generation),
		EvaluationNumber: q.EvaluationNumber, Expires: dateOrNone(q.CollateralExpires),
	}
	if q.HasPIID {
		doc.PIID = hexOf(q.PIID)
	}
	return doc
}

func dateOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return date(t)
}
