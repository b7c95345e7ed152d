#pragma once

#include "bliss/h5/member.hpp"

#include <hdf5.h>

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bliss::h5::detail {

/// Where an operation happens, for messages: a file and an object inside it.
struct Place {
    std::filesystem::path path;
    std::string object;  ///< empty: the file itself
};

/// To be called before anything else of HDF5. It prints no errors by itself (they are thrown), and does nothing after MPI has ended:
/// a file with bytes that it could not store would be tried again then, with calls of MPI that has already ended.
void start_library();

/// @throws H5Error naming the place, `operation` and HDF5's innermost message when `code` is negative.
template <class Code>
Code check(Code code, std::string_view operation, const Place& place);
extern template int check(int, std::string_view, const Place&);
extern template hid_t check(hid_t, std::string_view, const Place&);

/// Sole owner of one HDF5 identifier.
class Handle {
public:
    using Closer = herr_t (*)(hid_t);

    Handle() = default;
    Handle(hid_t id, Closer closer) : id_{id}, closer_{closer} {}
    Handle(Handle&& other) noexcept : id_{std::exchange(other.id_, H5I_INVALID_HID)}, closer_{other.closer_} {}
    Handle& operator=(Handle&& other) noexcept {
        std::swap(id_, other.id_);
        std::swap(closer_, other.closer_);
        return *this;
    }
    ~Handle() {
        if (id_ >= 0) closer_(id_);
    }

    [[nodiscard]] hid_t get() const { return id_; }
    /// Gives the identifier up without closing it.
    hid_t release() { return std::exchange(id_, H5I_INVALID_HID); }

private:
    hid_t id_ = H5I_INVALID_HID;
    Closer closer_ = nullptr;
};

/// The packed compound type of the members, the same in memory and in the file.
[[nodiscard]] Handle compound_type(std::span<const Member> members, const Place& place);

/// A text of `bytes` bytes, padded with zeros, UTF-8.
[[nodiscard]] Handle text_type(std::size_t bytes, const Place& place);

}  // namespace bliss::h5::detail
