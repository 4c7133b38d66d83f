package supervise

// Names of the roles, as arguments of this program.
const (
	RoleSupervise = "supervise"
	RoleInit      = "supervise-init"
	RoleRun       = "supervise-run"
	RoleCleanup   = "cleanup"
	RoleTrash     = "empty-trash"
	RoleStock     = "stock"

	// Those of a visit to what is kept of a failed build.
	RoleVisitInit = "visit-init"
	RoleVisitRun  = "visit-run"
)

// SudoRoles are the roles that the daemon's user starts through sudo: what its
// sudo rule has to allow, and no more.
func SudoRoles() []string { return []string{RoleSupervise, RoleCleanup, RoleTrash, RoleStock} }
