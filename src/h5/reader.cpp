#include "bliss/h5/reader.hpp"

#include "bliss/core/error.hpp"
#include "handle.hpp"

#include <algorithm>

namespace bliss::h5 {

using detail::check;
using detail::Handle;
using detail::Place;

struct Reader::Impl {
    std::filesystem::path path;
    Handle file;

    [[nodiscard]] Place place(const std::string& object = {}) const { return {path, object}; }

    [[noreturn]] void fail(const std::string& object, const std::string& what) const {
        throw H5Error(path.string() + ", " + object + ": " + what);
    }

    [[nodiscard]] bool has(const std::string& object) const {
        return object == "/" || H5Lexists(file.get(), object.c_str(), H5P_DEFAULT) > 0;
    }

    [[nodiscard]] Handle open_dataset(const std::string& dataset) const {
        if (!has(dataset)) fail(dataset, "is not in the file; is this a catalogue of bliss-mpi?");
        return {check(H5Dopen2(file.get(), dataset.c_str(), H5P_DEFAULT), "open the dataset", place(dataset)), H5Dclose};
    }

    [[nodiscard]] Handle open_attribute(const std::string& object, const std::string& name) const {
        if (!has(object)) fail(object, "is not in the file");
        if (H5Aexists_by_name(file.get(), object.c_str(), name.c_str(), H5P_DEFAULT) <= 0)
            fail(object, "attribute " + name + " is not in the file; is it one of bliss-mpi?");
        return {check(H5Aopen_by_name(file.get(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                      "open attribute " + name, place(object)),
                H5Aclose};
    }

    template <class T>
    [[nodiscard]] T scalar_attribute(const std::string& object, const std::string& name, hid_t memory_type) const {
        const Handle attribute = open_attribute(object, name);
        const Handle space{check(H5Aget_space(attribute.get()), "read an attribute's shape", place(object)), H5Sclose};
        if (H5Sget_simple_extent_npoints(space.get()) != 1) fail(object, "attribute " + name + " is not one value");
        T value{};
        check(H5Aread(attribute.get(), memory_type, &value), "read attribute " + name, place(object));
        return value;
    }
};

namespace {

const char* class_name(H5T_class_t type_class) {
    switch (type_class) {
        case H5T_INTEGER:
            return "integer";
        case H5T_FLOAT:
            return "floating-point";
        case H5T_STRING:
            return "text";
        case H5T_ARRAY:
            return "array";
        default:
            return "other";
    }
}

H5T_class_t expected_class(const Member& member) {
    if (member.type == Member::Type::text) return H5T_STRING;
    if (member.length > 1) return H5T_ARRAY;
    return member.type == Member::Type::f64 || member.type == Member::Type::f32 ? H5T_FLOAT : H5T_INTEGER;
}

}  // namespace

Reader::Reader(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

std::string library_version() {
    detail::start_library();
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    return std::to_string(major) + '.' + std::to_string(minor) + '.' + std::to_string(release);
}

Reader Reader::open(const std::filesystem::path& path) {
    detail::start_library();
    const Place place{path, {}};
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) throw H5Error(path.string() + ": no such file");
    Handle file{
        check(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), "open as HDF5 (not an HDF5 file, or damaged)", place),
        H5Fclose};
    return Reader{std::make_unique<Impl>(path, std::move(file))};
}

bool Reader::has(const std::string& object) const { return impl_->has(object); }

std::int64_t Reader::read_integer_attribute(const std::string& object, const std::string& name) const {
    return impl_->scalar_attribute<std::int64_t>(object, name, H5T_NATIVE_INT64);
}

double Reader::read_number_attribute(const std::string& object, const std::string& name) const {
    return impl_->scalar_attribute<double>(object, name, H5T_NATIVE_DOUBLE);
}

std::string Reader::read_text_attribute(const std::string& object, const std::string& name) const {
    const Handle attribute = impl_->open_attribute(object, name);
    const Handle type{check(H5Aget_type(attribute.get()), "read an attribute's type", impl_->place(object)), H5Tclose};
    if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) > 0)
        impl_->fail(object, "attribute " + name + " is not a text of fixed length");
    std::string text(H5Tget_size(type.get()), '\0');
    check(H5Aread(attribute.get(), type.get(), text.data()), "read attribute " + name, impl_->place(object));
    text.resize(std::min(text.size(), text.find('\0')));
    return text;
}

std::int64_t Reader::row_count(const std::string& dataset) const {
    const Handle set = impl_->open_dataset(dataset);
    const Handle space{check(H5Dget_space(set.get()), "read the shape", impl_->place(dataset)), H5Sclose};
    if (H5Sget_simple_extent_ndims(space.get()) != 1) impl_->fail(dataset, "is not one-dimensional");
    return static_cast<std::int64_t>(H5Sget_simple_extent_npoints(space.get()));
}

void Reader::check_row_bytes(const std::string& dataset, std::span<const Member> members, std::size_t bytes) const {
    const std::size_t packed = packed_row_bytes(members);
    if (packed != bytes)
        impl_->fail(dataset, "the row type has " + std::to_string(bytes) + " bytes, its members " + std::to_string(packed));
}

void Reader::check_range(const std::string& dataset, RowRange range) const {
    const std::int64_t rows = row_count(dataset);
    if (range.first < 0 || range.count < 0 || range.first > rows || range.count > rows - range.first)
        impl_->fail(dataset, "has " + std::to_string(rows) + " rows, none from " + std::to_string(range.first) + " to " +
                                 std::to_string(range.first + range.count) + "; the file is damaged");
}

void Reader::read_into(const std::string& dataset, std::span<const Member> members, std::int64_t first, std::span<std::byte> rows) const {
    const Place place = impl_->place(dataset);
    const Handle set = impl_->open_dataset(dataset);
    const Handle file_type{check(H5Dget_type(set.get()), "read the type", place), H5Tclose};
    if (H5Tget_class(file_type.get()) != H5T_COMPOUND) impl_->fail(dataset, "does not hold rows with named members");

    // HDF5 leaves a member the file does not have as it was, without a word: so look first.
    for (const Member& member : members) {
        const std::string name{member.name};
        const int index = H5Tget_member_index(file_type.get(), name.c_str());
        if (index < 0) impl_->fail(dataset, "member " + name + " is not in the file");
        const auto found = H5Tget_member_class(file_type.get(), static_cast<unsigned>(index));
        if (found != expected_class(member))
            impl_->fail(dataset,
                        "member " + name + " is " + class_name(found) + ", not " + class_name(expected_class(member)));
        const Handle type{check(H5Tget_member_type(file_type.get(), static_cast<unsigned>(index)), "read a type", place),
                          H5Tclose};
        if (found == H5T_STRING && H5Tis_variable_str(type.get()) > 0)
            impl_->fail(dataset, "member " + name + " has no fixed length");
        if (found == H5T_ARRAY) {
            hsize_t length[H5S_MAX_RANK] = {};
            const int dimensions = check(H5Tget_array_dims2(type.get(), length), "read an array's shape", place);
            if (dimensions != 1 || length[0] != member.length)
                impl_->fail(dataset, "member " + name + " does not hold " + std::to_string(member.length) + " elements");
        }
    }
    const Handle type = detail::compound_type(members, place);
    if (rows.empty()) return;
    const hsize_t begin = static_cast<hsize_t>(first), count = rows.size() / packed_row_bytes(members);
    const Handle memory{check(H5Screate_simple(1, &count, nullptr), "describe rows", place), H5Sclose};
    const Handle file{check(H5Dget_space(set.get()), "read the shape", place), H5Sclose};
    check(H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, &begin, nullptr, &count, nullptr), "choose rows", place);
    check(H5Dread(set.get(), type.get(), memory.get(), file.get(), H5P_DEFAULT, rows.data()), "read rows", place);
}

}  // namespace bliss::h5
