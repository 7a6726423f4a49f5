package measuretest

// TCBInfo is the signed text of a TCB info answer, version 3 (Intel PCS API, "Get TCB Info"). Members are in Intel's
// order.
type TCBInfo struct {
	ID                      string           `json:"id"`
	Version                 int              `json:"version"`
	IssueDate               string           `json:"issueDate"`
	NextUpdate              string           `json:"nextUpdate"`
	FMSPC                   string           `json:"fmspc"`
	PCEID                   string           `json:"pceId"`
	TCBType                 int              `json:"tcbType"`
	TCBEvaluationDataNumber int              `json:"tcbEvaluationDataNumber"`
	TDXModule               *TDXModule       `json:"tdxModule,omitempty"`
	TDXModuleIdentities     []ModuleIdentity `json:"tdxModuleIdentities,omitempty"`
	TCBLevels               []TCBLevel       `json:"tcbLevels"`
}

// TDXModule is the identity of TDX modules of major version 0.
type TDXModule struct {
	MRSigner       string `json:"mrsigner"`
	Attributes     string `json:"attributes"`
	AttributesMask string `json:"attributesMask"`
}

// ModuleIdentity is the identity and the levels of TDX modules of one major version.
type ModuleIdentity struct {
	ID string `json:"id"`
	TDXModule
	TCBLevels []EnclaveLevel `json:"tcbLevels"`
}

// TCBLevel is one level of a platform.
type TCBLevel struct {
	TCB         TCB      `json:"tcb"`
	TCBDate     string   `json:"tcbDate"`
	TCBStatus   string   `json:"tcbStatus"`
	AdvisoryIDs []string `json:"advisoryIDs,omitempty"`
}

// TCB is the security versions that a level asks for.
type TCB struct {
	SGX    []Component `json:"sgxtcbcomponents"`
	PCESVN uint16      `json:"pcesvn"`
	TDX    []Component `json:"tdxtcbcomponents,omitempty"`
}

// Component is the security version of one component.
type Component struct {
	SVN      int    `json:"svn"`
	Category string `json:"category,omitempty"`
	Type     string `json:"type,omitempty"`
}

// EnclaveLevel is one level of an enclave or a TDX module.
type EnclaveLevel struct {
	TCB struct {
		ISVSVN uint16 `json:"isvsvn"`
	} `json:"tcb"`
	TCBDate     string   `json:"tcbDate"`
	TCBStatus   string   `json:"tcbStatus"`
	AdvisoryIDs []string `json:"advisoryIDs,omitempty"`
}

// QEIdentity is the signed text of an enclave identity answer, version 2 (Intel PCS API, "Get Quoting Enclave
// Identity").
type QEIdentity struct {
	ID                      string         `json:"id"`
	Version                 int            `json:"version"`
	IssueDate               string         `json:"issueDate"`
	NextUpdate              string         `json:"nextUpdate"`
	TCBEvaluationDataNumber int            `json:"tcbEvaluationDataNumber"`
	MiscSelect              string         `json:"miscselect"`
	MiscSelectMask          string         `json:"miscselectMask"`
	Attributes              string         `json:"attributes"`
	AttributesMask          string         `json:"attributesMask"`
	MRSigner                string         `json:"mrsigner"`
	ISVProdID               uint16         `json:"isvprodid"`
	TCBLevels               []EnclaveLevel `json:"tcbLevels"`
}
