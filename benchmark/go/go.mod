module reference

// Go takes its defaults from this: from 1.24 on they offer ML-KEM, as OpenSSL and so our engines do.
go 1.24
