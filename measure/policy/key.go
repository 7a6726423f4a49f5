package policy

import (
	"encoding/json"
	"fmt"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/strictjson"
	"cocoon/measure/tdx"
)

// key is one key of a policy document.
type key struct {
	name  string
	types types
	read  func(path string, v json.RawMessage, r *Rules) error
	// write gives the value for a document; nil leaves the key out.
	write func(r *Rules) any
}

// keyTable lists the keys of a policy document, in the order that Encode writes them.
func keyTable() []key {
	return append(imageKeys(), append(rootKeys(), append(tdKeys(), append(platformKeys(), certificateKeys()...)...)...)...)
}

func imageKeys() []key {
	return []key{
		{"allowed_image_hashes", tdxType, readImages, func(r *Rules) any { return texts(r.AllowedImages, tdx.Hash.String) }},
		{"allowed_image_hash", tdxType, readImage, func(*Rules) any { return nil }}, // the reference's older name
		{
			"allowed_mrtd", tdxType,
			into(readList, readHex[tdx.Digest], func(r *Rules) *[]tdx.Digest { return &r.AllowedMRTD }),
			func(r *Rules) any { return texts(r.AllowedMRTD, tdx.Digest.String) },
		},
		{
			"allowed_rtmr", tdxType,
			into(readList, readRTMR, func(r *Rules) *[][4]tdx.Digest { return &r.AllowedRTMR }),
			func(r *Rules) any { return some(r.AllowedRTMR) },
		},
		{
			"allowed_mrenclave", sgxType,
			into(readList, readHex[[32]byte], func(r *Rules) *[][32]byte { return &r.AllowedEnclaves }),
			func(r *Rules) any { return texts(r.AllowedEnclaves, hexOf[[32]byte]) },
		},
		{
			"image_source", verified,
			one(readName(ParseImageSource), func(r *Rules) *ImageSource { return &r.ImageSource }),
			func(r *Rules) any { return r.ImageSource },
		},
	}
}

func rootKeys() []key {
	return []key{
		{
			"allowed_collateral_root_hashes", verified,
			into(readSome, readHex[dcap.RootID], func(r *Rules) *[]dcap.RootID { return &r.CollateralRoots }),
			func(r *Rules) any { return texts(r.CollateralRoots, dcap.RootID.String) },
		},
		{
			"allow_simulated", verified,
			one(readBool, func(r *Rules) *bool { return &r.AllowSimulated }),
			func(r *Rules) any { return r.AllowSimulated },
		},
	}
}

func tdKeys() []key {
	return []key{
		{"td_attributes", tdxType, readMask(func(r *Rules) *Mask { return &r.TDAttributes }), func(r *Rules) any { return r.TDAttributes.document() }},
		{"xfam", tdxType, readMask(func(r *Rules) *Mask { return &r.XFAM }), func(r *Rules) any { return r.XFAM.document() }},
		{
			"mr_seam", tdxType,
			into(readSome, readHex[tdx.Digest], func(r *Rules) *[]tdx.Digest { return &r.MRSEAM }),
			func(r *Rules) any { return texts(r.MRSEAM, tdx.Digest.String) },
		},
		{
			"mr_signer_seam", tdxType,
			one(readHex[tdx.Digest], func(r *Rules) *tdx.Digest { return &r.MRSignerSEAM }),
			func(r *Rules) any { return r.MRSignerSEAM },
		},
		{
			"seam_attributes", tdxType,
			one(readNumber, func(r *Rules) *uint64 { return &r.SEAMAttributes }),
			func(r *Rules) any { return number(r.SEAMAttributes) },
		},
		{
			"mr_service_td", tdxType,
			into(readSome, readHex[tdx.Digest], func(r *Rules) *[]tdx.Digest { return &r.MRServiceTD }),
			func(r *Rules) any { return texts(r.MRServiceTD, tdx.Digest.String) },
		},
	}
}

func platformKeys() []key {
	return []key{
		{"tcb", verified, readTCB, func(r *Rules) any { return r.TCB.document() }},
		{"fmspc", verified, readFilter(func(r *Rules) *Filter[[6]byte] { return &r.FMSPC }), func(r *Rules) any { return r.FMSPC.document() }},
		{"ppid", verified, readFilter(func(r *Rules) *Filter[[16]byte] { return &r.PPID }), func(r *Rules) any { return r.PPID.document() }},
		{"piid", verified, readFilter(func(r *Rules) *Filter[[16]byte] { return &r.PIID }), func(r *Rules) any { return r.PIID.document() }},
	}
}

func certificateKeys() []key {
	return []key{
		{
			"max_cert_lifetime", attested,
			one(readDuration, func(r *Rules) *time.Duration { return &r.MaxCertLifetime }),
			func(r *Rules) any { return r.MaxCertLifetime.String() },
		},
		{
			"max_quote_age", peersTypes,
			one(readDuration, func(r *Rules) *time.Duration { return &r.Claims.MaxQuoteAge }),
			func(r *Rules) any { return r.Claims.MaxQuoteAge.String() },
		},
		{
			"require_v2", peersTypes,
			one(readBool, func(r *Rules) *bool { return &r.Claims.Require }),
			func(r *Rules) any { return r.Claims.Require },
		},
		{"role", peersTypes, readRole, func(r *Rules) any { return optional(r.Claims.Role, Role.String) }},
		{"network_id", peersTypes, readNetwork, func(r *Rules) any { return optional(r.Claims.NetworkID, func(id int32) int32 { return id }) }},
	}
}

// one and into make the read function of a key that is one setting.

func one[T any](read func(string, json.RawMessage) (T, error), field func(*Rules) *T) func(string, json.RawMessage, *Rules) error {
	return func(path string, v json.RawMessage, r *Rules) error {
		got, err := read(path, v)
		if err != nil {
			return err
		}
		*field(r) = got
		return nil
	}
}

func into[T any](
	list func(string, json.RawMessage, func(string, json.RawMessage) (T, error)) ([]T, error),
	item func(string, json.RawMessage) (T, error), field func(*Rules) *[]T,
) func(string, json.RawMessage, *Rules) error {
	return one(func(path string, v json.RawMessage) ([]T, error) { return list(path, v, item) }, field)
}

// readImage takes one hash; it adds to those of the other key.
func readImage(path string, v json.RawMessage, r *Rules) error {
	h, err := readHex[tdx.Hash](path, v)
	r.AllowedImages = append(r.AllowedImages, h)
	return err
}

// readImages takes one hash or a list of them.
func readImages(path string, v json.RawMessage, r *Rules) error {
	if strictjson.Kind(v) == "a string" {
		return readImage(path, v, r)
	}
	hashes, err := readList(path, v, readHex[tdx.Hash])
	r.AllowedImages = append(r.AllowedImages, hashes...)
	return err
}

func readRTMR(path string, v json.RawMessage) ([4]tdx.Digest, error) {
	digests, err := readList(path, v, readHex[tdx.Digest])
	if err != nil {
		return [4]tdx.Digest{}, err
	}
	if len(digests) != 4 {
		return [4]tdx.Digest{}, fmt.Errorf("%s: %d registers, want RTMR0 to RTMR3", path, len(digests))
	}
	return [4]tdx.Digest(digests), nil
}
