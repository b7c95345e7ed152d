#include "handle.hpp"

#include "bliss/core/error.hpp"

namespace bliss::h5::detail {

namespace {

/// Innermost message on HDF5's error stack: the deepest call, which knows the cause.
std::string innermost_message() {
    std::string message;
    const auto take_first = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        *static_cast<std::string*>(out) = error->desc ? error->desc : "";
        return 1;  // stop
    };
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &message);
    return message.empty() ? "HDF5 gives no reason" : message;
}

}  // namespace

void start_library() {
    H5dont_atexit();  // fails, without harm, where the library has been used before
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

template <class Code>
Code check(Code code, std::string_view operation, const Place& place) {
    if (code >= 0) return code;
    std::string where = place.path.string();
    if (!place.object.empty()) where += ", " + place.object;
    throw H5Error(where + ": cannot " + std::string{operation} + ": " + innermost_message() + "; check the file and the disk it is on");
}
template int check(int, std::string_view, const Place&);
template hid_t check(hid_t, std::string_view, const Place&);

Handle text_type(std::size_t bytes, const Place& place) {
    Handle type{check(H5Tcopy(H5T_C_S1), "make a text type", place), H5Tclose};
    check(H5Tset_size(type.get(), bytes), "set a text's size", place);
    check(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "set a text's padding", place);
    check(H5Tset_cset(type.get(), H5T_CSET_UTF8), "set a text's encoding", place);
    return type;
}

namespace {

Handle element_type(const Member& member, const Place& place) {
    const auto copy = [&](hid_t type) { return Handle{check(H5Tcopy(type), "copy a type", place), H5Tclose}; };
    switch (member.type) {
        case Member::Type::i32:
            return copy(H5T_STD_I32LE);
        case Member::Type::i64:
            return copy(H5T_STD_I64LE);
        case Member::Type::u32:
            return copy(H5T_STD_U32LE);
        case Member::Type::f32:
            return copy(H5T_IEEE_F32LE);
        case Member::Type::f64:
            return copy(H5T_IEEE_F64LE);
        case Member::Type::text:
            return text_type(member.length, place);
    }
    throw H5Error("member " + std::string{member.name} + " has an unknown type");
}

}  // namespace

Handle compound_type(std::span<const Member> members, const Place& place) {
    Handle compound{check(H5Tcreate(H5T_COMPOUND, packed_row_bytes(members)), "make a row type", place), H5Tclose};
    for (const Member& member : members) {
        Handle type = element_type(member, place);
        if (member.type != Member::Type::text && member.length > 1) {
            const hsize_t length = member.length;
            type = Handle{check(H5Tarray_create2(type.get(), 1, &length), "make an array type", place), H5Tclose};
        }
        check(H5Tinsert(compound.get(), std::string{member.name}.c_str(), member.offset, type.get()), "add a member", place);
    }
    return compound;
}

}  // namespace bliss::h5::detail

namespace bliss::h5 {

std::size_t packed_row_bytes(std::span<const Member> members) {
    std::size_t end = 0;
    for (const Member& member : members) {
        if (member.offset != end)
            throw H5Error("member " + std::string{member.name} + " starts at byte " + std::to_string(member.offset) +
                          " but the one before ends at " + std::to_string(end) + "; a row must be packed, in member order");
        end += member.bytes();
    }
    return end;
}

}  // namespace bliss::h5
