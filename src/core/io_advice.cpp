#include "bliss/core/io_advice.hpp"

#include <cerrno>

namespace bliss {

std::string_view io_advice(int error_number) {
    switch (error_number) {
        case ENOSPC:
        case EDQUOT:
            return "; free space or give another --output";
        case EFBIG:
            return "; raise the limit on file sizes (ulimit -f)";
        case EACCES:
        case EPERM:
        case EROFS:
            return "; give a folder you may write to";
        case ENOENT:
        case ENOTDIR:
            return "; give a folder that exists";
        default:
            return "; check the disk";
    }
}

}  // namespace bliss
