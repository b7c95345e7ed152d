#include "bliss/h5/file.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/comm/native.hpp"
#include "bliss/core/error.hpp"
#include "bliss/h5/reader.hpp"
#include "durable.hpp"
#include "handle.hpp"
#include "verify.hpp"

#include <exception>

namespace bliss::h5 {

using detail::check;
using detail::Handle;
using detail::Place;

/// What went wrong: bytes could not be stored, or anything else (then the file itself is sound).
enum class File::Failed { storing, otherwise };

struct File::Impl {
    Impl(std::filesystem::path final_path, const comm::Communicator& given)
        : path{std::move(final_path)}, partial{path}, comm{given.duplicate()} {
        partial += ".partial";
    }

    /// Removes the file after a failure that all ranks have agreed on.
    void abandon(Failed failed) noexcept {
        open = false;
        try {
            if (failed == Failed::storing) {
                // HDF5 still holds bytes it could not store. Closing would try again, fail on some ranks and leave the
                // others waiting: so the identifier is given up. Should the library be ended with MPI, it finds an emptied
                // file, where its bytes have room.
                if (comm.rank() == 0) detail::truncate_to_nothing(partial);
                file = H5I_INVALID_HID;
            }
            if (file >= 0) H5Fclose(std::exchange(file, H5I_INVALID_HID));
            comm.barrier();
        } catch (const MpiError&) {  // the failure under way says more
        }
        if (comm.rank() == 0) detail::remove_quietly(partial);
    }

    /// Finds a full disk early, with the system's message: once HDF5 holds bytes it cannot write, it cannot even close.
    void reserve(std::int64_t bytes) {
        reserved_bytes += bytes;
        if (comm.rank() == 0) detail::reserve(partial, reserved_bytes);
    }

    [[nodiscard]] Place place(const std::string& object = {}) const { return {path, object}; }

    std::filesystem::path path;
    std::filesystem::path partial;
    comm::Communicator comm;
    hid_t file = H5I_INVALID_HID;
    bool open = false;
    std::int64_t reserved_bytes = 0;
    detail::WriteRecord written;
    int exceptions_at_start = std::uncaught_exceptions();
};

namespace {

/// Room for headers, types and attributes of one dataset or of the file.
constexpr std::int64_t k_metadata_bytes = 1 << 16;

Handle creation_properties(const Place& place) {
    Handle properties{check(H5Pcreate(H5P_FILE_CREATE), "make properties", place), H5Pclose};
    check(H5Pset_obj_track_times(properties.get(), false), "switch times off", place);
    return properties;
}

Handle access_properties(const comm::Communicator& comm, const Place& place) {
    Handle properties{check(H5Pcreate(H5P_FILE_ACCESS), "make properties", place), H5Pclose};
    check(H5Pset_fapl_mpio(properties.get(), comm::native(comm), MPI_INFO_NULL), "choose parallel access", place);
    check(H5Pset_libver_bounds(properties.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "set the format version", place);
    check(H5Pset_fclose_degree(properties.get(), H5F_CLOSE_STRONG), "set how the file closes", place);
    return properties;
}

/// Writes one attribute; an existing one is an error.
void put_attribute(hid_t object, const std::string& name, hid_t type, const void* value, const Place& place) {
    const Handle space{check(H5Screate(H5S_SCALAR), "make a scalar", place), H5Sclose};
    const Handle attribute{check(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                                 "create attribute " + name, place),
                           H5Aclose};
    check(H5Awrite(attribute.get(), type, value), "write attribute " + name, place);
}

void put_text_attribute(hid_t object, const std::string& name, std::string_view text, const Place& place) {
    const std::string value = text.empty() ? std::string(1, '\0') : std::string{text};
    const Handle type = detail::text_type(value.size(), place);
    put_attribute(object, name, type.get(), value.data(), place);
}

Handle open_object(hid_t file, const std::string& object, const Place& place) {
    return {check(H5Oopen(file, object.c_str(), H5P_DEFAULT), "open", place), H5Oclose};
}

/// Selects the union of the ranges.
void select_ranges(hid_t space, std::span<const RowRange> ranges, const Place& place) {
    check(H5Sselect_none(space), "select rows", place);
    std::int64_t end = 0;
    for (const RowRange& range : ranges) {
        if (range.first < end || range.count < 0)
            throw H5Error(place.path.string() + ": row ranges overlap or do not ascend");
        end = range.first + range.count;
        if (range.count == 0) continue;
        const auto first = static_cast<hsize_t>(range.first);
        const auto count = static_cast<hsize_t>(range.count);
        check(H5Sselect_hyperslab(space, H5S_SELECT_OR, &first, nullptr, &count, nullptr), "select rows", place);
    }
}

/// HDF5 falls back to independent writing without a word; that would be slow on a cluster's file system.
void check_was_collective(hid_t transfer, const Place& place) {
    uint32_t local = 0;
    uint32_t global = 0;
    check(H5Pget_mpio_no_collective_cause(transfer, &local, &global), "ask how rows were written", place);
    if (global != 0)
        throw H5Error(place.path.string() + ", " + place.object + ": HDF5 did not write collectively (cause bits " +
                      std::to_string(global) + ")");
}

}  // namespace

File::File(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
File::File(File&&) noexcept = default;

File::~File() {
    if (!impl_ || !impl_->open) return;
    if (std::uncaught_exceptions() > impl_->exceptions_at_start)
        detail::remove_quietly(impl_->partial);
    else
        impl_->abandon(Failed::otherwise);
}

template <class Work>
void File::together(Work&& work, Failed meaning) {
    try {
        comm::agree_on(impl_->comm, std::forward<Work>(work));
    } catch (const Error& error) {
        // One that this rank meets alone, in agreeing itself: nobody would join it in closing.
        if (error.ranks() == impl_->comm.size()) impl_->abandon(meaning);
        throw;
    }
}

template <class Work>
void File::together(Work&& work) {
    together(std::forward<Work>(work), Failed::otherwise);
}

File File::create(const std::filesystem::path& path, const comm::Communicator& comm) {
    detail::start_library();
    auto impl = std::make_unique<Impl>(path, comm);
    // The operating system's reason (no such directory, not permitted) is clearer than what MPI-IO makes of it.
    File file{std::move(impl)};
    file.impl_->open = true;
    file.together([&] {
        if (file.impl_->comm.rank() == 0) detail::create_empty(file.impl_->partial);
        file.impl_->reserve(k_metadata_bytes);
    });
    file.together([&] { detail::check_visible(file.impl_->partial); });
    file.together(
        [&] {
            const Place place = file.impl_->place();
            const Handle creation = creation_properties(place);
            const Handle access = access_properties(file.impl_->comm, place);
            file.impl_->file = check(H5Fcreate(file.impl_->partial.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()),
                                     "create the file", place);
        },
        Failed::storing);
    file.together([&] { file.impl_->reserve(0); });  // creating the file gave the space back
    return file;
}

void File::create_rows(const std::string& dataset, std::span<const Member> members, std::int64_t rows) {
    together([&] { impl_->reserve(k_metadata_bytes + rows * static_cast<std::int64_t>(packed_row_bytes(members))); });
    together([&] {
        const Place place = impl_->place(dataset);
        const Handle type = detail::compound_type(members, place);
        const auto size = static_cast<hsize_t>(rows);
        const Handle space{check(H5Screate_simple(1, &size, nullptr), "make a dataspace", place), H5Sclose};
        const Handle properties{check(H5Pcreate(H5P_DATASET_CREATE), "make properties", place), H5Pclose};
        check(H5Pset_obj_track_times(properties.get(), false), "switch times off", place);
        check(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), "switch filling off", place);
        check(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), "ask for early allocation", place);
        const Handle made{check(H5Dcreate2(impl_->file, dataset.c_str(), type.get(), space.get(), H5P_DEFAULT,
                                           properties.get(), H5P_DEFAULT),
                                "create the dataset", place),
                          H5Dclose};
        for (const Member& member : members) {
            put_text_attribute(made.get(), std::string{member.name} + ".unit", member.unit, place);
            put_text_attribute(made.get(), std::string{member.name} + ".about", member.about, place);
        }
    });
}

void File::write_rows(const std::string& dataset, std::span<const Member> members, std::span<const RowRange> ranges,
                      std::span<const std::byte> rows) {
    const Place place = impl_->place(dataset);
    Handle type, target, file_space, memory_space, transfer;
    // What one rank alone can get wrong is settled before the collective call: there the others would wait for it.
    together([&] {
        std::int64_t count = 0;
        for (const RowRange& range : ranges) count += range.count;
        if (static_cast<std::size_t>(count) * packed_row_bytes(members) != rows.size())
            throw H5Error(place.path.string() + ", " + dataset + ": ranges and rows differ in number");
        type = detail::compound_type(members, place);
        target = {check(H5Dopen2(impl_->file, dataset.c_str(), H5P_DEFAULT), "open the dataset", place), H5Dclose};
        file_space = {check(H5Dget_space(target.get()), "read the dataspace", place), H5Sclose};
        select_ranges(file_space.get(), ranges, place);
        if (check(H5Sselect_valid(file_space.get()), "check the rows selected", place) == 0)
            throw H5Error(place.path.string() + ", " + dataset + ": row ranges reach beyond the dataset");
        const auto size = static_cast<hsize_t>(count);
        memory_space = {check(H5Screate_simple(1, &size, nullptr), "make a dataspace", place), H5Sclose};
        if (count == 0) check(H5Sselect_none(memory_space.get()), "select no rows", place);
        transfer = {check(H5Pcreate(H5P_DATASET_XFER), "make properties", place), H5Pclose};
        check(H5Pset_dxpl_mpio(transfer.get(), H5FD_MPIO_COLLECTIVE), "ask for collective writing", place);
    });
    // HDF5 1.10 fails to write none of a dataset without rows, which has no address.
    if (H5Sget_simple_extent_npoints(file_space.get()) == 0) return;
    together(
        [&] {
            check(H5Dwrite(target.get(), type.get(), memory_space.get(), file_space.get(), transfer.get(), rows.data()),
                  "write rows", place);
            check_was_collective(transfer.get(), place);
            const haddr_t start = H5Dget_offset(target.get());
            if (start == HADDR_UNDEF) throw H5Error(place.path.string() + ", " + dataset + ": has no address in the file");
            const auto row_bytes = static_cast<std::int64_t>(packed_row_bytes(members));
            std::int64_t used = 0;
            for (const RowRange& range : ranges) {
                const std::int64_t size = range.count * row_bytes;
                const std::int64_t offset = static_cast<std::int64_t>(start) + range.first * row_bytes;
                impl_->written.add(offset, rows.subspan(static_cast<std::size_t>(used), static_cast<std::size_t>(size)));
                if (size > 0) detail::begin_sync(impl_->partial, offset, size);
                used += size;
            }
        },
        Failed::storing);
}

void File::write_attribute(const std::string& object, const std::string& name, std::string_view value) {
    together([&] {
        const Place place = impl_->place(object);
        put_text_attribute(open_object(impl_->file, object, place).get(), name, value, place);
    });
}

void File::write_attribute(const std::string& object, const std::string& name, std::int64_t value) {
    together([&] {
        const Place place = impl_->place(object);
        put_attribute(open_object(impl_->file, object, place).get(), name, H5T_STD_I64LE, &value, place);
    });
}

void File::write_attribute(const std::string& object, const std::string& name, double value) {
    together([&] {
        const Place place = impl_->place(object);
        put_attribute(open_object(impl_->file, object, place).get(), name, H5T_IEEE_F64LE, &value, place);
    });
}

void File::commit() {
    together([&] { check(H5Fclose(std::exchange(impl_->file, H5I_INVALID_HID)), "close the file", impl_->place()); },
             Failed::storing);
    together([&] {
        if (impl_->comm.rank() == 0) detail::release_reserve(impl_->partial);
    });
    // Every rank syncs: on a cluster each node holds its own unwritten pages.
    together([&] { detail::sync_file(impl_->partial); });
    together([&] {
        impl_->written.verify(impl_->partial);
        if (impl_->comm.rank() == 0) (void)Reader::open(impl_->partial);
    });
    together([&] {
        if (impl_->comm.rank() == 0) detail::rename_durably(impl_->partial, impl_->path);
    });
    impl_->open = false;
}

}  // namespace bliss::h5
