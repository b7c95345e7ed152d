#pragma once

#include <stdexcept>
#include <string>

namespace bliss {

/// Root of every error this library throws. The message says what went wrong, where, and what to do about it.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;

    /// How many ranks throw this error together (comm::agree): where all do, one speaks for them and none need be aborted.
    [[nodiscard]] int ranks() const { return ranks_; }
    void set_ranks(int ranks) { ranks_ = ranks; }

private:
    int ranks_ = 1;
};

/// A configuration, option or argument the user gave is wrong (exit status 2).
class ConfigError : public Error {
public:
    using Error::Error;
};

/// Input data that cannot be used: a bad image, an absent table row, a file of another shape or version.
class DataError : public Error {
public:
    using Error::Error;
};

/// A FITS file cannot be read or written; the message names path and HDU.
class FitsError : public DataError {
public:
    using DataError::DataError;
};

/// An HDF5 file cannot be read or written; the message names path and object.
class H5Error : public Error {
public:
    using Error::Error;
};

/// An MPI call failed, or ranks disagree.
class MpiError : public Error {
public:
    using Error::Error;
};

/// An operating-system call on a file failed (open, write, rename, fsync); the message names the path.
class IoError : public Error {
public:
    using Error::Error;
};

}  // namespace bliss
